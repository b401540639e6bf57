package spec

import (
	"reflect"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/near"
)

// unknown says what to do about a key that t does not have: where it belongs, what
// it is called here, or which ones there are.
func unknown(t reflect.Type, key string) string {
	const no = "there is no such key: "
	plain := near.Fold(key)
	if s := elsewhere(t, plain); s != "" {
		return no + s
	}
	known := keysOf(t)
	for _, k := range known {
		if near.Fold(k) == plain {
			return no + "did you mean " + k + "?"
		}
	}
	if s := level(t, plain); s != "" {
		return no + s
	}
	if k := near.Of(plain, known); k != "" {
		return no + "did you mean " + k + "?"
	}
	return no + "there are " + strings.Join(known, ", ")
}

// level says where a key belongs that is one of another level of the file.
func level(t reflect.Type, plain string) string {
	set, container, options := reflect.TypeFor[Set](), reflect.TypeFor[Container](), reflect.TypeFor[Options]()
	if t != set && t != container && t != options {
		return ""
	}
	for _, other := range []struct {
		of    reflect.Type
		where string
	}{{options, "in Options of a container"}, {container, "beside Options of a container"}, {set, "at the top of the set"}} {
		for _, k := range keysOf(other.of) {
			if near.Fold(k) == plain {
				return "write " + k + " " + other.where
			}
		}
	}
	return ""
}

func keysOf(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		out = append(out, f.Name)
	}
	return out
}

// advice is what is said of keys, folded, that docker run or Compose have and a set
// has in another place or under another name.
type advice struct {
	keys []string
	say  string
}

// elsewhere is the advice for a key of a container, or of the set itself.
func elsewhere(t reflect.Type, key string) string {
	var list []advice
	switch t {
	case reflect.TypeFor[Container](), reflect.TypeFor[Options]():
		list = append(shared(), renamed()...)
	case reflect.TypeFor[Set]():
		list = ofSet()
	default:
		list = ofParts()[t]
	}
	for _, a := range list {
		if slices.Contains(a.keys, key) {
			return a.say
		}
	}
	return ""
}

// shared is what docker run silently ignores, or refuses, for a container that is in
// the network and the IPC of another: in a set it is said once, for all.
func shared() []advice {
	const (
		one = "the whole set shares one network: write "
		top = " at the top of the set"
	)
	return []advice{
		{[]string{"p", "port", "ports", "publish", "publishall", "expose", "exposedports", "portbindings"}, one + "Ports" + top},
		{[]string{"hostname", "h"}, one + "Hostname" + top},
		{[]string{"domainname"}, one + "Hostname, with its domain," + top},
		{[]string{"dns", "dnsserver", "dnsservers"}, one + "DNS with its Servers" + top},
		{[]string{"dnssearch"}, one + "DNS with its Search" + top},
		{[]string{"dnsoption", "dnsoptions", "dnsopt"}, one + "DNS with its Options" + top},
		{[]string{"addhost", "extrahosts", "hosts", "hostaliases"}, one + "Hosts" + top},
		{[]string{"ip", "ip6", "ipaddress", "mac", "macaddress"}, one + "it in Network" + top},
		{[]string{"net", "network", "networkmode", "networkalias", "alias", "aliases"}, one + "Network" + top},
		{[]string{"networks"}, one + "Networks" + top},
		{[]string{"link", "links"}, "the whole set shares one network, in which its containers find each other at 127.0.0.1: drop it"},
		{[]string{"sysctl", "sysctls"}, one + "Sysctls" + top},
		{[]string{"shm", "shmsize"}, "the whole set shares one /dev/shm: write SHM" + top},
		{[]string{"ipc", "ipcmode"}, "the whole set shares one IPC: drop it"},
		{[]string{"pid", "pidmode"}, "processes are shared by the whole set or not at all: write PID" + top + "; the most processes of a container are PIDs"},
		{[]string{"cgroupparent"}, "the set is the parent of its containers: drop it, and write CPU and MEM" + top},
		{[]string{"uts", "utsmode", "cgroupns", "userns", "usernsmode"}, "a set has none for its containers: drop it"},
	}
}

func renamed() []advice {
	return []advice{
		{[]string{"cpus", "nanocpus", "cpulimit"}, "did you mean Cores, or CPU in percents of the set?"},
		{[]string{"m", "memorylimit", "memlimit"}, "did you mean Memory, or MEM in percents of the set?"},
		{[]string{"memoryswap", "memswaplimit"}, "memory and swap of a container are one limit: write Memory, or MEM in percents of the set"},
		{[]string{"cmd", "args", "arguments"}, "did you mean Command?"},
		{[]string{"e", "environment"}, "did you mean Env?"},
		{[]string{"healthcheck", "healthcmd", "liveness", "livenessprobe"}, "did you mean Health?"},
		{[]string{"readiness", "readinessprobe", "startupprobe"}, "did you mean Ready?"},
		{[]string{"w", "workingdir"}, "did you mean WorkDir?"},
		{[]string{"u"}, "did you mean User?"},
		{[]string{"t"}, "did you mean TTY?"},
		{[]string{"groupadd", "supplementalgroups"}, "did you mean Groups?"},
		{[]string{"v", "volume", "volumes", "volumemounts", "volumesfrom"}, "did you mean Mounts?"},
		{[]string{"tmpfs"}, "write one of Mounts with Type tmpfs"},
		{[]string{"pidslimit"}, "did you mean PIDs?"},
		{[]string{"logdriver", "logopt", "logopts", "logging", "logconfig"}, "did you mean Log?"},
		{[]string{"stopsignal"}, "did you mean Stop with its Signal?"},
		{[]string{"stoptimeout", "stopgraceperiod", "terminationgraceperiodseconds"}, "did you mean Stop with its Grace?"},
		{[]string{"poststart", "prestop", "lifecycle"}, "did you mean Hooks with its PostStart and PreStop?"},
		{[]string{"oncomplete", "initcontainer"}, "did you mean Once?"},
		{[]string{"restartpolicy"}, "did you mean Restart?"},
		{[]string{"restartdelay", "restartbackoff"}, "did you mean Backoff?"},
		{[]string{"rm", "autoremove", "d", "detach", "i", "interactive", "containername"}, "a set does that itself: drop it"},
	}
}

func ofSet() []advice {
	return []advice{
		{[]string{"cpus", "cores"}, "did you mean CPU?"},
		{[]string{"memory", "m"}, "did you mean MEM?"},
		{[]string{"services", "initcontainers"}, "did you mean Containers?"},
		{[]string{"volumes"}, "a set has one Volume; other ones are Mounts in Options of a container"},
		{[]string{"publish", "p"}, "did you mean Ports?"},
		{[]string{"shmsize"}, "did you mean SHM?"},
		{[]string{"addhost", "extrahosts", "hostaliases"}, "did you mean Hosts?"},
		{[]string{"dnssearch", "dnsoption", "dnsoptions", "dnsopt"}, "did you mean DNS with its Search and Options?"},
		{[]string{"ip", "ip6", "mac", "macaddress"}, "did you mean Network, which has it?"},
		{[]string{"version", "kind", "apiversion"}, "a set's file needs none: drop it"},
	}
}

func ofParts() map[reflect.Type][]advice {
	return map[reflect.Type][]advice{
		reflect.TypeFor[Mount](): {
			{[]string{"target", "destination", "dst", "mountpath"}, "did you mean Path?"},
			{[]string{"src", "volume"}, "did you mean Source?"},
			{[]string{"ro"}, "did you mean ReadOnly?"},
			{[]string{"tmpfssize"}, "did you mean Size?"},
		},
		reflect.TypeFor[Backoff]():    {{[]string{"delay", "delays", "curve", "intervals"}, "did you mean Pauses?"}},
		reflect.TypeFor[Dependency](): {{[]string{"name", "service", "on"}, "did you mean Container?"}},
		reflect.TypeFor[Health]():     {{[]string{"test", "command", "exec"}, "did you mean Cmd?"}},
		reflect.TypeFor[HTTPProbe]():  {{[]string{"url", "uri"}, "did you mean Path?"}},
		reflect.TypeFor[Log]():        {{[]string{"type"}, "did you mean Driver?"}},
		reflect.TypeFor[Network]():    {{[]string{"driveropts", "driveropt"}, "did you mean Options?"}, {[]string{"ipv4", "address", "ipaddress"}, "did you mean IP?"}, {[]string{"ipv6"}, "did you mean IP6?"}},
		reflect.TypeFor[Live]():       {{[]string{"cmd", "command"}, "did you mean Exec?"}, {[]string{"port"}, "did you mean TCP?"}},
		reflect.TypeFor[Probe]():      {{[]string{"cmd", "command"}, "did you mean Exec?"}, {[]string{"port"}, "did you mean TCP?"}},
		reflect.TypeFor[Stop]():       {{[]string{"timeout"}, "did you mean Grace?"}},
		reflect.TypeFor[Update]():     {{[]string{"type"}, "did you mean Strategy?"}},
		reflect.TypeFor[Volume]():     {{[]string{"driveropts", "opts"}, "did you mean Options?"}, {[]string{"target", "mountpath"}, "did you mean Path?"}},
	}
}
