package spec

import (
	"math"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

// valid is a set that passes, of two containers.
func valid() *Set {
	return &Set{
		Name: "web", CPU: 4, MEM: 8 << 30, Network: Network{Name: "prod"}, Volume: &Volume{Path: "/data"},
		Containers: []Container{
			{Name: "app", Image: "shop/app:41", Options: Options{CPU: 50, MEM: 50, Ready: &Probe{TCP: 80}}},
			{Index: 1, Name: "log", Image: "shop/log:7", Options: Options{CPU: 50, MEM: 50}},
		},
	}
}

const at0 = "/Containers/0/Options/"

// TestRules: one row for each thing that cannot be meant: where it is, and the words
// of what to do.
func TestRules(t *testing.T) {
	options := func(change func(o *Options)) func(*Set) {
		return func(s *Set) { change(&s.Containers[0].Options) }
	}
	mount := func(m Mount) func(*Set) {
		return options(func(o *Options) { o.Mounts = []Mount{m} })
	}
	waits := func(d ...Dependency) func(*Set) {
		return func(s *Set) { s.Containers[1].Options.DependsOn = d }
	}
	for _, tt := range []struct {
		name   string
		change func(*Set)
		path   string // of the first flaw
		say    string
	}{
		{"no name", func(s *Set) { s.Name = "" }, "/Name", "the set has no name: give it one"},
		{"short name", func(s *Set) { s.Name = "w" }, "/Name", "2 to 40 are possible"},
		{"long name", func(s *Set) { s.Name = strings.Repeat("w", 41) }, "/Name", "has 41 characters"},
		{"dotted name", func(s *Set) { s.Name = "w.b" }, "/Name", "only letters, digits, '_' and '-'"},
		{"hyphen first", func(s *Set) { s.Name = "-wb" }, "/Name", "begins with a letter or digit"},
		{"foreign letter", func(s *Set) { s.Name = "wäb" }, "/Name", "is no name"},
		{"cpu tiny", func(s *Set) { s.CPU = 0.001 }, "/CPU", "give 0.01 at least"},
		{"cpu below", func(s *Set) { s.CPU = -1 }, "/CPU", "give 0.01 at least"},
		{"cpu nan", func(s *Set) { s.CPU = Cores(math.NaN()) }, "/CPU", "give 0.01 at least"},
		{"cpu absurd", func(s *Set) { s.CPU = 9000 }, "/CPU", "more than any machine has"},
		{"cpu digits", func(s *Set) { s.CPU = 1.2345 }, "/CPU", "three digits behind the point"},
		{"mem small", func(s *Set) { s.MEM = 5 << 20 }, "/MEM", "wants 6m at least"},

		{"fixed address on bridge", func(s *Set) { s.Network = Network{IP: "10.0.0.2"} }, "/Network", "name a network that was made with docker network create"},
		{"alias on bridge", func(s *Set) { s.Network = Network{Name: "bridge", Aliases: []string{"a"}} }, "/Network", "name a network that was made"},
		{"network name", func(s *Set) { s.Network.Name = "container:x" }, "/Network/Name", "no name of a network"},
		{"ip word", func(s *Set) { s.Network.IP = "x" }, "/Network/IP", "such as 10.9.0.21"},
		{"ip of six", func(s *Set) { s.Network.IP = "fd00::1" }, "/Network/IP", "no IPv4 address"},
		{"ip of all", func(s *Set) { s.Network.IP = "224.0.0.1" }, "/Network/IP", "no IPv4 address"},
		{"ip broadcast", func(s *Set) { s.Network.IP = "255.255.255.255" }, "/Network/IP", "no IPv4 address"},
		{"ip6 of four", func(s *Set) { s.Network.IP6 = "10.0.0.1" }, "/Network/IP6", "such as fd00:9::21"},
		{"ip6 zone", func(s *Set) { s.Network.IP6 = "fe80::1%eth0" }, "/Network/IP6", "no IPv6 address"},
		{"ip6 mapped", func(s *Set) { s.Network.IP6 = "::ffff:10.0.0.1" }, "/Network/IP6", "no IPv6 address"},
		{"ip6 loop", func(s *Set) { s.Network.IP6 = "::1" }, "/Network/IP6", "no IPv6 address"},
		{"mac form", func(s *Set) { s.Network.MAC = "02-42-0a-09-00-15" }, "/Network/MAC", "such as 02:42:0a:09:00:15"},
		{"mac digit", func(s *Set) { s.Network.MAC = "02:42:0a:09:00:1g" }, "/Network/MAC", "no MAC address"},
		{"mac short", func(s *Set) { s.Network.MAC = "02:42:0a:09:00:1" }, "/Network/MAC", "no MAC address"},
		{"mac group", func(s *Set) { s.Network.MAC = "01:42:0a:09:00:15" }, "/Network/MAC", "of one interface"},
		{"mac zero", func(s *Set) { s.Network.MAC = "00:00:00:00:00:00" }, "/Network/MAC", "of one interface"},
		{"alias", func(s *Set) { s.Network.Aliases = []string{"a b"} }, "/Network/Aliases/0", "no host name"},
		{"option key", func(s *Set) { s.Network.Options = map[string]string{"": "x"} }, "/Network/Options", "has no key: give it one"},
		{"more unnamed", func(s *Set) { s.Networks = []Network{{IP: "10.0.0.1"}} }, "/Networks/0/Name", "give it one"},
		{"more host", func(s *Set) { s.Networks = []Network{{Name: "host"}} }, "/Networks/0/Name", "write it as Network, alone"},
		{"more twice", func(s *Set) { s.Networks = []Network{{Name: "prod"}} }, "/Networks/0/Name", "name each network once"},
		{"more bridge twice", func(s *Set) { s.Network.Name, s.Networks = "", []Network{{Name: "bridge"}} }, "/Networks/0/Name", "name each network once"},

		{"volume name", func(s *Set) { s.Volume.Name = "a/b" }, "/Volume/Name", "no name of a volume"},
		{"volume driver", func(s *Set) { s.Volume.Driver = "a b" }, "/Volume/Driver", "docker info lists"},
		{"volume size", func(s *Set) { s.Volume.Driver, s.Volume.Size = "local", 1<<30 }, "/Volume/Size", "drop Size"},
		{"volume size twice", func(s *Set) { s.Volume.Options = map[string]string{"size": "1g"} }, "/Volume/Options/size", "write Size"},
		{"volume option", func(s *Set) { s.Volume.Options = map[string]string{"": "1g"} }, "/Volume/Options", "has no key"},
		{"volume relative", func(s *Set) { s.Volume.Path = "data" }, "/Volume/Path", "such as /data"},
		{"volume unclean", func(s *Set) { s.Volume.Path = "/data/" }, "/Volume/Path", "such as /data"},
		{"volume root", func(s *Set) { s.Volume.Path = "/" }, "/Volume/Path", "choose a path below it"},

		{"hostname", func(s *Set) { s.Hostname = "a_b" }, "/Hostname", "63 at most"},
		{"hostname dots", func(s *Set) { s.Hostname = "a..b" }, "/Hostname", "no host name"},
		{"dns server", func(s *Set) { s.DNS.Servers = []string{"dns.example"} }, "/DNS/Servers/0", "such as 10.9.0.2"},
		{"dns search", func(s *Set) { s.DNS.Search = []string{"a b"} }, "/DNS/Search/0", "such as shop.example"},
		{"dns option", func(s *Set) { s.DNS.Options = []string{""} }, "/DNS/Options/0", "such as ndots:2"},
		{"host name", func(s *Set) { s.Hosts = map[string]string{"a b": "10.0.0.1"} }, "/Hosts/a b", "no host name"},
		{"host address", func(s *Set) { s.Hosts = map[string]string{"a": "b"} }, "/Hosts/a", "or host-gateway"},
		{"sysctl of host", func(s *Set) { s.Sysctls = map[string]string{"vm.swappiness": "1"} }, "/Sysctls/vm.swappiness", "possible are net.*"},
		{"sysctl misspelt", func(s *Set) { s.Sysctls = map[string]string{"kernel.shmmx": "1"} }, "/Sysctls/kernel.shmmx", "kernel.shmmax"},
		{"sysctl name", func(s *Set) { s.Sysctls = map[string]string{"net.": "1"} }, "/Sysctls/net.", "such as net.core.somaxconn"},
		{"sysctl value", func(s *Set) { s.Sysctls = map[string]string{"net.a": " "} }, "/Sysctls/net.a", `such as "4096"`},
		{"port word", func(s *Set) { s.Ports = []string{"http"} }, "/Ports/0", "such as 8080:80"},
		{"port blank", func(s *Set) { s.Ports = []string{"80 "} }, "/Ports/0", "such as 8080:80"},
		{"port proto", func(s *Set) { s.Ports = []string{"80/icmp"} }, "/Ports/0", "such as 8080:80"},
		{"port ranges", func(s *Set) { s.Ports = []string{"80-82:90-91"} }, "/Ports/0", "such as 8080:80"},
		{"port zero", func(s *Set) { s.Ports = []string{"0:80"} }, "/Ports/0", "leave the port of the host out"},
		{"port inside zero", func(s *Set) { s.Ports = []string{"0"} }, "/Ports/0", "from 1 on"},
		{"port clash", func(s *Set) { s.Ports = []string{"80:80", "80:81"} }, "/Ports/1", `port 80/tcp of the host, which "80:80" has`},
		{"port clash in range", func(s *Set) { s.Ports = []string{"81:1", "80-82:80-82"} }, "/Ports/1", "port 81/tcp"},
		{"port clash of all", func(s *Set) { s.Ports = []string{"10.0.0.1:80:80", "80:80"} }, "/Ports/1", "choose another"},
		{"port clash of four", func(s *Set) { s.Ports = []string{"0.0.0.0:80:80", "10.0.0.1:80:80"} }, "/Ports/1", "choose another"},
		{"port clash of one", func(s *Set) { s.Ports = []string{"[fd00::1]:80:80", "[fd00:0::1]:80:81"} }, "/Ports/1", "choose another"},
		{"ports absurd", func(s *Set) { s.Ports = []string{"1-65535", "1-65535/udp", "1-65535"} }, "/Ports/2", "publish fewer"},
		{"infra image", func(s *Set) { s.Infra.Image = "A" }, "/Infra/Image", "such as shop/app:41"},
		{"label ours", func(s *Set) { s.Labels = map[string]string{"mos.set": "x"} }, "/Labels/mos.set", "choose another key"},
		{"label key", func(s *Set) { s.Labels = map[string]string{"a b": "x"} }, "/Labels/a b", "without blanks"},
		{"annotation key", func(s *Set) { s.Annotations = map[string]string{"": "x"} }, "/Annotations/", "without blanks"},

		{"no containers", func(s *Set) { s.Containers = nil }, "/Containers", "give it one at least"},
		{"infra", func(s *Set) { s.Containers[0].Name = "infra" }, "/Containers/0/Name", "choose another name"},
		{"no container name", func(s *Set) { s.Containers[0].Name = "" }, "/Containers/0/Name", "the container has no name"},
		{"twice", func(s *Set) { s.Containers[1].Name = "app" }, "/Containers/1/Name", "give each its own"},
		{"index", func(s *Set) { s.Containers[0].Index = -1 }, "/Containers/0/Index", "count from 0"},
		{"no image", func(s *Set) { s.Containers[0].Image = "" }, "/Containers/0/Image", "name one as docker run takes it"},
		{"image", func(s *Set) { s.Containers[0].Image = "Shop/App" }, "/Containers/0/Image", "must be lowercase: write one"},

		{"cpu sum", options(func(o *Options) { o.CPU = 60 }), "/Containers", "110 % of the set's 4 cores: lower"},
		{"cpu sum of cores", options(func(o *Options) { o.CPU, o.Cores = 0, 3 }), "/Containers", "125 % of the set's 4 cores: lower"},
		{"mem sum", options(func(o *Options) { o.MEM = 60 }), "/Containers", "110 % of the set's 8g of memory: lower"},
		{"mem sum of bytes", func(s *Set) {
			s.Overcommit, s.Containers[0].Options.MEM, s.Containers[0].Options.Memory = true, 0, 6<<30
		}, "/Containers", "125 % of the set's 8g"},
		{"cpu of nothing", func(s *Set) { s.CPU = 0 }, at0 + "CPU", "give the set a CPU at its top, or the container Cores"},
		{"mem of nothing", func(s *Set) { s.MEM = 0 }, at0 + "MEM", "give the set a MEM at its top, or the container Memory"},
		{"cpu twice", options(func(o *Options) { o.Cores = 1 }), at0 + "CPU", "drop one"},
		{"mem twice", options(func(o *Options) { o.MEM, o.Memory = 10, 1<<30 }), at0 + "MEM", "drop one"},
		{"cpu minus", options(func(o *Options) { o.CPU = -1 }), at0 + "CPU", "more than 0 and at most 100"},
		{"cpu nan", options(func(o *Options) { o.CPU = math.NaN() }), at0 + "CPU", "more than 0 and at most 100"},
		{"mem much", func(s *Set) { s.Containers = s.Containers[:1]; s.Containers[0].Options.MEM = 101 }, at0 + "MEM", "at most 100 percent"},
		{"cores tiny", options(func(o *Options) { o.CPU, o.Cores = 0, 0.002 }), at0 + "Cores", "give 0.01 at least"},
		{"cores of set", func(s *Set) { s.Overcommit = true; s.Containers[0].Options.CPU, s.Containers[0].Options.Cores = 0, 5 }, at0 + "Cores", "more than the 4 of the set"},
		{"memory tiny", options(func(o *Options) { o.MEM, o.Memory = 0, 1<<20 }), at0 + "Memory", "wants 6m at least"},
		{"mem tiny", func(s *Set) { s.MEM = 10 << 20 }, at0 + "MEM", "50 percent of 10m is too little"},

		{"command zero", options(func(o *Options) { o.Command = []string{"a\x00"} }), at0 + "Command/0", "drop it"},
		{"entrypoint zero", options(func(o *Options) { o.Entrypoint = []string{"a", "\x00"} }), at0 + "Entrypoint/1", "drop it"},
		{"env name", options(func(o *Options) { o.Env = map[string]string{"A=B": ""} }), at0 + "Env/A=B", "without blanks and '='"},
		{"env empty", options(func(o *Options) { o.Env = map[string]string{"": ""} }), at0 + "Env/", "no name of a variable"},
		{"env value", options(func(o *Options) { o.Env = map[string]string{"A": "\x00"} }), at0 + "Env/A", "drop it"},
		{"env file", options(func(o *Options) { o.EnvFiles = []string{""} }), at0 + "EnvFiles/0", "write its path"},
		{"user", options(func(o *Options) { o.User = "a:b:c" }), at0 + "User", "write USER or USER:GROUP"},
		{"group", options(func(o *Options) { o.Groups = []string{"a:b"} }), at0 + "Groups/0", "a name or a number"},
		{"workdir", options(func(o *Options) { o.WorkDir = "srv" }), at0 + "WorkDir", "such as /srv"},
		{"option label", options(func(o *Options) { o.Labels = map[string]string{"mos.hash": ""} }), at0 + "Labels/mos.hash", "choose another key"},
		{"option annotation", options(func(o *Options) { o.Annotations = map[string]string{"a=b": ""} }), at0 + "Annotations/a=b", "without blanks"},

		{"mount type", mount(Mount{Type: "nfs", Path: "/a"}), at0 + "Mounts/0/Type", "write set, bind, volume or tmpfs"},
		{"mount path", mount(Mount{}), at0 + "Mounts/0/Path", "say where"},
		{"mount relative", mount(Mount{Path: "a"}), at0 + "Mounts/0/Path", "such as /data"},
		{"mount unclean", mount(Mount{Path: "/a/../b"}), at0 + "Mounts/0/Path", "clean path"},
		{"mount root", mount(Mount{Path: "/"}), at0 + "Mounts/0/Path", "choose a path below"},
		{"mount twice", options(func(o *Options) { o.Mounts = []Mount{{Path: "/a"}, {Type: MountTmpfs, Path: "/a"}} }), at0 + "Mounts/1/Path", "mount each on its own path"},
		{"mount on volume", mount(Mount{Type: MountTmpfs, Path: "/data"}), at0 + "Mounts/0/Path", "has the set's volume already"},
		{"mount no volume", func(s *Set) { s.Volume = nil; s.Containers[0].Options.Mounts = []Mount{{Path: "/a"}} }, at0 + "Mounts/0", "write Volume at the top"},
		{"mount source of set", mount(Mount{Path: "/a", Source: "x"}), at0 + "Mounts/0/Source", "drop Source, or write Type"},
		{"mount source of tmpfs", mount(Mount{Type: MountTmpfs, Path: "/a", Source: "x"}), at0 + "Mounts/0/Source", "drop Source"},
		{"mount no source", mount(Mount{Type: MountBind, Path: "/a"}), at0 + "Mounts/0/Source", "such as /srv/web"},
		{"mount relative source", mount(Mount{Type: MountBind, Path: "/a", Source: "./x"}), at0 + "Mounts/0/Source", "no absolute path of the host"},
		{"mount no volume name", mount(Mount{Type: MountVolume, Path: "/a"}), at0 + "Mounts/0/Source", "docker volume ls"},
		{"mount size", mount(Mount{Path: "/a", Size: 1}), at0 + "Mounts/0/Size", "write Type tmpfs"},
		{"mount subpath of bind", mount(Mount{Type: MountBind, Source: "/x", Path: "/a", Subpath: "a"}), at0 + "Mounts/0/Subpath", "drop it"},
		{"mount subpath out", mount(Mount{Path: "/a", Subpath: "../x"}), at0 + "Mounts/0/Subpath", "such as logs/app"},
		{"mount subpath up", mount(Mount{Path: "/a", Subpath: ".."}), at0 + "Mounts/0/Subpath", "such as logs/app"},
		{"mount subpath absolute", mount(Mount{Path: "/a", Subpath: "/x"}), at0 + "Mounts/0/Subpath", "such as logs/app"},
		{"mount subpath unclean", mount(Mount{Path: "/a", Subpath: "x/../y"}), at0 + "Mounts/0/Subpath", "such as logs/app"},

		{"cgroup setting of the set", func(s *Set) { s.Cgroup = map[string]string{"memory.hihg": "1g"} }, "/Cgroup/memory.hihg", "did you mean memory.high?"},
		{"cgroup setting", options(func(o *Options) { o.Cgroup = map[string]string{"memory.hihg": "1g"} }), at0 + "Cgroup/memory.hihg", "did you mean memory.high?"},
		{"cgroup value", options(func(o *Options) { o.Cgroup = map[string]string{"memory.high": "much"} }), at0 + "Cgroup/memory.high", "no size such as 512m"},
		{"cgroup clash", options(func(o *Options) { o.Cgroup = map[string]string{"cpu.idle": "1", "cpu.weight": "1"} }), at0 + "Cgroup", "drop one"},
		{"ulimit name", options(func(o *Options) { o.Ulimits = map[string]string{"files": "1"} }), at0 + "Ulimits/files", "write SOFT or SOFT:HARD"},
		{"ulimit value", options(func(o *Options) { o.Ulimits = map[string]string{"nofile": "9:1"} }), at0 + "Ulimits/nofile", "write SOFT or SOFT:HARD"},
		{"cap add", options(func(o *Options) { o.CapAdd = []string{"NET_ADMN"} }), at0 + "CapAdd/0", "did you mean NET_ADMIN?"},
		{"cap drop", options(func(o *Options) { o.CapDrop = []string{"everything"} }), at0 + "CapDrop/0", "capabilities(7)"},
		{"security word", options(func(o *Options) { o.SecurityOpt = []string{"a b"} }), at0 + "SecurityOpt/0", "as docker run takes it"},
		{"security name", options(func(o *Options) { o.SecurityOpt = []string{"selinux=off"} }), at0 + "SecurityOpt/0", "there are apparmor="},
		{"security file", options(func(o *Options) { o.SecurityOpt = []string{"seccomp=a.json"} }), at0 + "SecurityOpt/0", "write seccomp=unconfined"},
		{"security paths", options(func(o *Options) { o.SecurityOpt = []string{"systempaths=x"} }), at0 + "SecurityOpt/0", "write systempaths=unconfined"},
		{"security value", options(func(o *Options) { o.SecurityOpt = []string{"label"} }), at0 + "SecurityOpt/0", "lacks what is behind"},
		{"pids", options(func(o *Options) { o.PIDs = -1 }), at0 + "PIDs", "leave it out for no limit"},
		{"oom", options(func(o *Options) { o.OOMScoreAdj = 1001 }), at0 + "OOMScoreAdj", "-1000 to 1000"},
		{"init", func(s *Set) { s.PID, s.Containers[0].Options.Init = true, true }, at0 + "Init", "drop Init"},
		{"device", options(func(o *Options) { o.Devices = []string{"fuse"} }), at0 + "Devices/0", "write /dev/HOST"},
		{"device mode", options(func(o *Options) { o.Devices = []string{"/dev/a:/dev/b:rr"} }), at0 + "Devices/0", "write /dev/HOST"},
		{"device twice", options(func(o *Options) { o.Devices = []string{"/dev/a", "/dev/b:/dev/a:r"} }), at0 + "Devices/1", "name each device once"},

		{"once restart", options(func(o *Options) { o.Once, o.Restart = true, "always" }), at0 + "Restart", "drop Restart, or Once"},
		{"restart", options(func(o *Options) { o.Restart = "sometimes" }), at0 + "Restart", "write no, on-failure"},
		{"restart count", options(func(o *Options) { o.Restart = "always:3" }), at0 + "Restart", "write no, on-failure"},
		{"restart no count", options(func(o *Options) { o.Restart = "on-failure:" }), at0 + "Restart", "write no, on-failure"},
		{"health empty", options(func(o *Options) { o.Health = &Health{} }), at0 + "Health/Cmd", `write ["CMD"`},
		{"health bare", options(func(o *Options) { o.Health = &Health{Cmd: []string{"/ok"}} }), at0 + "Health/Cmd", `write ["CMD"`},
		{"health shell", options(func(o *Options) { o.Health = &Health{Cmd: []string{"CMD-SHELL", "a", "b"}} }), at0 + "Health/Cmd", "line of a shell"},
		{"health short", options(func(o *Options) { o.Health = &Health{Cmd: []string{"NONE"}, Interval: 5} }), at0 + "Health/Interval", "give 1ms at least"},
		{"health below", options(func(o *Options) { o.Health = &Health{Cmd: []string{"NONE"}, Timeout: -5} }), at0 + "Health/Timeout", "give 1ms at least"},
		{"health start", options(func(o *Options) { o.Health = &Health{Cmd: []string{"NONE"}, StartPeriod: 1} }), at0 + "Health/StartPeriod", "give 1ms at least"},
		{"health retries", options(func(o *Options) { o.Health = &Health{Cmd: []string{"NONE"}, Retries: -1} }), at0 + "Health/Retries", "leave it out"},
		{"ready none", options(func(o *Options) { o.Ready = &Probe{} }), at0 + "Ready", "give one of Exec, HTTP and TCP"},
		{"ready two", options(func(o *Options) { o.Ready = &Probe{TCP: 1, Exec: []string{"a"}} }), at0 + "Ready", "Exec and TCP: give one of them only"},
		{"ready exec", options(func(o *Options) { o.Ready = &Probe{Exec: []string{""}} }), at0 + "Ready/Exec/0", "name a program"},
		{"ready tcp", options(func(o *Options) { o.Ready = &Probe{TCP: 65536} }), at0 + "Ready/TCP", "1 to 65535"},
		{"ready http", options(func(o *Options) { o.Ready = &Probe{HTTP: &HTTPProbe{}} }), at0 + "Ready/HTTP/Port", "1 to 65535"},
		{"ready path", options(func(o *Options) { o.Ready = &Probe{HTTP: &HTTPProbe{Port: 1, Path: "ok"}} }), at0 + "Ready/HTTP/Path", "such as /ready"},
		{"ready interval", options(func(o *Options) { o.Ready.Interval = -1 }), at0 + "Ready/Interval", "give 1ms at least"},
		{"ready timeout", options(func(o *Options) { o.Ready.Timeout = 1 }), at0 + "Ready/Timeout", "give 1ms at least"},
		{"ready deadline", options(func(o *Options) { o.Ready.Deadline = -1 }), at0 + "Ready/Deadline", "give 1ms at least"},
		{"hook after", options(func(o *Options) { o.Hooks.PostStart = []string{""} }), at0 + "Hooks/PostStart/0", "name a program"},
		{"hook before", options(func(o *Options) { o.Hooks.PreStop = []string{"", "a"} }), at0 + "Hooks/PreStop/0", "name a program"},
		{"signal", options(func(o *Options) { o.Stop.Signal = "SIGSTERM" }), at0 + "Stop/Signal", "such as SIGTERM"},
		{"signal number", options(func(o *Options) { o.Stop.Signal = "65" }), at0 + "Stop/Signal", "such as SIGTERM"},
		{"signal real-time", options(func(o *Options) { o.Stop.Signal = "RTMIN+16" }), at0 + "Stop/Signal", "such as SIGTERM"},
		{"grace", options(func(o *Options) { o.Stop.Grace = new(Duration(-1)) }), at0 + "Stop/Grace", "give 0s at least"},
		{"strategy", options(func(o *Options) { o.Update.Strategy = "rolling" }), at0 + "Update/Strategy", "write overlap, swap or restart"},
		{"overlap asks nobody", options(func(o *Options) { o.Update.Strategy = Overlap }), at0 + "Update/Strategy", "Ready.Exec or Health"},
		{"overlap asks a port", options(func(o *Options) {
			o.Update, o.Ready = Update{Strategy: Overlap, MinReady: millisecond}, &Probe{TCP: 80}
		}), at0 + "Update/Strategy", "Ready.Exec or Health"},
		{"overlap asks not", options(func(o *Options) { o.Update.Strategy, o.Health = Overlap, &Health{Cmd: []string{"NONE"}} }), at0 + "Update/Strategy", "Ready.Exec or Health"},
		{"min ready", options(func(o *Options) { o.Update.MinReady = -1 }), at0 + "Update/MinReady", "give 0s at least"},
		{"update deadline", options(func(o *Options) { o.Update.Deadline = -1 }), at0 + "Update/Deadline", "give 1ms at least"},
		{"log driver", options(func(o *Options) { o.Log.Driver = "a b" }), at0 + "Log/Driver", "docker info lists"},
		{"log none", options(func(o *Options) { o.Log = Log{Driver: "none", Options: map[string]string{"a": "b"}} }), at0 + "Log/Options", "drop them"},
		{"log key", options(func(o *Options) { o.Log.Options = map[string]string{"": "b"} }), at0 + "Log/Options", "has no key"},

		{"waits for nobody", waits(Dependency{}), "/Containers/1/Options/DependsOn/0", "write one of the set"},
		{"waits for nearly", waits(Dependency{Container: "apq"}), "/Containers/1/Options/DependsOn/0/Container", "did you mean app?"},
		{"waits for unknown", waits(Dependency{Container: "zz"}), "/Containers/1/Options/DependsOn/0/Container", "name one of app, log"},
		{"waits for itself", waits(Dependency{Container: "log"}), "/Containers/1/Options/DependsOn/0/Container", "drop the dependency"},
		{"waits twice", waits(Dependency{Container: "app"}, Dependency{Container: "app"}), "/Containers/1/Options/DependsOn/1/Container", "name each container once"},
		{"waits for later", options(func(o *Options) { o.DependsOn = []Dependency{{Container: "log"}} }), at0 + "DependsOn/0/Container", "give it an Index of 0 at most"},
		{"waits for ring", func(s *Set) {
			s.Containers[1].Index = 0
			s.Containers[0].Options.DependsOn = []Dependency{{Container: "log"}}
			s.Containers[1].Options.DependsOn = []Dependency{{Container: "app"}}
		}, at0 + "DependsOn", "app → log → app wait for each other in a ring: drop one"},
		{"condition", waits(Dependency{"app", "up"}), "/Containers/1/Options/DependsOn/0/Condition", "write started, healthy or completed"},
		{"condition completed", waits(Dependency{"app", Completed}), "/Containers/1/Options/DependsOn/0/Condition", "give it Once"},
		{"condition healthy", func(s *Set) { s.Containers[0].Options.Ready = nil; waits(Dependency{"app", Healthy})(s) }, "/Containers/1/Options/DependsOn/0/Condition", "has no Health and no Ready"},
		{"condition none", func(s *Set) {
			s.Containers[0].Options.Ready, s.Containers[0].Options.Health = nil, &Health{Cmd: []string{"NONE"}}
			waits(Dependency{"app", Healthy})(s)
		}, "/Containers/1/Options/DependsOn/0/Condition", "give it one"},
	} {
		s := valid()
		tt.change(s)
		err := s.Check()
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %v, want an error of class invalid argument", tt.name, err)
			continue
		}
		first, _, _ := strings.Cut(err.Error(), "\n")
		if path, say, _ := strings.Cut(first, ": "); path != tt.path || !strings.Contains(say, tt.say) {
			t.Errorf("%s: got %s, want it at %s with %q", tt.name, first, tt.path, tt.say)
		}
		for l := range strings.Lines(err.Error()) {
			if len(l) > 400 {
				t.Errorf("%s: the sentence has %d characters: %s", tt.name, len(l), l)
			}
		}
	}
	if err := valid().Check(); err != nil {
		t.Errorf("the set that all rows change is refused: %v", err)
	}
}

// TestNetworksWithoutAddresses: all that none and host do not have is refused at once.
func TestNetworksWithoutAddresses(t *testing.T) {
	for name, want := range map[string][]string{
		"none": {"/Network/IP", "/Network/IP6", "/Network/MAC", "/Network/Aliases", "/Network/Options", "/Ports", "/Networks"},
		"host": {"/Network/IP", "/Network/IP6", "/Network/MAC", "/Network/Aliases", "/Network/Options", "/Ports", "/Networks", "/Sysctls/net.a"},
	} {
		s := valid()
		s.Network = Network{Name: name, IP: "10.0.0.1", IP6: "fd00::1", MAC: "02:00:00:00:00:01", Aliases: []string{"a"}, Options: map[string]string{"a": "b"}}
		s.Ports, s.Networks = []string{"80"}, []Network{{Name: "x1"}}
		s.Sysctls = map[string]string{"net.a": "1", "kernel.sem": "1"}
		var got []string
		for l := range strings.Lines(s.Check().Error()) {
			path, _, _ := strings.Cut(l, ": ")
			got = append(got, path)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestPossible: what is unusual and can be meant.
func TestPossible(t *testing.T) {
	for name, change := range map[string]func(s *Set, o *Options){
		"ports of two protocols": func(s *Set, _ *Options) { s.Ports = []string{"80:80", "80:80/udp", "80:80/sctp"} },
		"ports of two addresses": func(s *Set, _ *Options) { s.Ports = []string{"10.0.0.1:80:80", "10.0.0.2:80:80", "[::]:80:80"} },
		"any port twice":         func(s *Set, _ *Options) { s.Ports = []string{"80", "80", "8000-8010:81", "8000-8010:82"} },
		"overcommit":             func(s *Set, o *Options) { s.Overcommit, o.CPU = true, 100 },
		"thirds":                 func(s *Set, o *Options) { o.CPU, o.MEM = 33.33, 16.67; s.Containers[1].Options.CPU = 66.67 },
		"absolute without totals": func(s *Set, o *Options) {
			*s = Set{Name: "web", Containers: s.Containers[:1]}
			*o = Options{Cores: 64, Memory: 6 << 20}
		},
		"image by id":              func(s *Set, _ *Options) { s.Containers[0].Image = strings.Repeat("a1", 32) },
		"image by digest":          func(s *Set, _ *Options) { s.Containers[0].Image = "sha256:" + strings.Repeat("a1", 32) },
		"no entrypoint":            func(_ *Set, o *Options) { o.Entrypoint = []string{""} },
		"once":                     func(_ *Set, o *Options) { o.Once, o.Restart = true, "no" },
		"signal":                   func(_ *Set, o *Options) { o.Stop = Stop{"rtmin+3", new(Duration(0))} },
		"signal last":              func(_ *Set, o *Options) { o.Stop.Signal = "SIGRTMAX" },
		"signal first":             func(_ *Set, o *Options) { o.Stop.Signal = "RTMIN" },
		"host network":             func(s *Set, _ *Options) { s.Network = Network{Name: "host"}; s.Hostname = "a.b" },
		"own volume of the driver": func(s *Set, _ *Options) { s.Volume = &Volume{Driver: "local", Options: map[string]string{"size": "1"}} },
		"managed plugin":           func(s *Set, _ *Options) { s.Volume = &Volume{Driver: "mos-lvm:latest", Size: 1 << 30} },
		"mount on its own path":    func(_ *Set, o *Options) { o.Mounts = []Mount{{Path: "/x"}, {Type: MountTmpfs, Path: "/data"}} },
		"ready and health":         func(_ *Set, o *Options) { o.Health = &Health{Cmd: []string{"CMD", "/ok"}} },
		"dependency in one index": func(s *Set, _ *Options) {
			s.Containers[1].Index, s.Containers[1].Options.DependsOn = 0, []Dependency{{"app", Healthy}}
		},
	} {
		s := valid()
		change(s, &s.Containers[0].Options)
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
