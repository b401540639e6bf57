package spec

import "reflect"

// section describes the keys of one type, in the order of its fields.
type section struct {
	of   reflect.Type
	help string
	keys []row
}

// row is one key, from which the schema and the docs are printed.
type row struct {
	name, standard, help string
	more                 map[string]any // what the schema says of it beside its type
}

const needed = "needed"

func sections() []section {
	return []section{
		{reflect.TypeFor[Set](), "The file holds one.", setKeys()},
		{reflect.TypeFor[Network](), "A network that the set is connected to.", networkKeys()},
		{reflect.TypeFor[Volume](), "The volume that the containers of the set share. It outlives the set.", volumeKeys()},
		{reflect.TypeFor[DNS](), "What the containers find in /etc/resolv.conf.", []row{
			{"Servers", "of the Engine", "addresses of name servers.", nil},
			{"Search", "of the host", "domains in which short names are looked up.", nil},
			{"Options", "none", "options of the resolver, such as ndots:2.", nil},
		}},
		{reflect.TypeFor[Infra](), "The infra container, which holds what the others share.", []row{
			{"Image", "our own, with a static init", "another image, such as busybox.", nil},
			{"Privileged", "false", "whether it has all rights on the host; sysctls need none.", nil},
		}},
		{reflect.TypeFor[Container](), "A container that works in the set.", []row{
			{"Index", "0", "order: containers of one Index are started together, when those of the Index before are ready, and stopped in the reverse order.", minimum()},
			{"Name", needed, "2 to 40 letters, digits, `_` and `-`; infra is reserved.", pattern(nameForm)},
			{"Image", needed, "as docker run takes it.", map[string]any{"minLength": 1}},
			{"Options", "none", "all else.", nil},
		}},
		{reflect.TypeFor[Options](), "The options of a container.", append(append(processKeys(), rightKeys()...), lifeKeys()...)},
		{reflect.TypeFor[Mount](), "Something that a container has at a path.", mountKeys()},
		{reflect.TypeFor[File](), "A file that is put into a container before its first start. One of Source, Text and Digest is given.", fileKeys()},
		{reflect.TypeFor[Dependency](), "What must be true of another container before this one is started.", []row{
			{"Container", needed, "its name; its Index must not be higher.", nil},
			{"Condition", "started", "started; healthy, as its Ready or Health says; or completed, of one with Once.", nil},
		}},
		{reflect.TypeFor[Health](), "The Engine's health check. A container that has one is ready when it is healthy.", []row{
			{"Cmd", needed, "`[\"CMD\", \"/program\", \"argument\"]`, `[\"CMD-SHELL\", \"line\"]`, or `[\"NONE\"]`, which takes away the image's.", map[string]any{"minItems": 1}},
			{"Interval", "30s", "time between two checks.", nil},
			{"Timeout", "30s", "time that one check may take.", nil},
			{"StartPeriod", "0s", "time after the start in which failures do not count.", nil},
			{"Retries", "3", "failures in a row that make it unhealthy.", minimum()},
		}},
		{reflect.TypeFor[Probe](), "A question whether a container is ready, at its start only. One of Exec, HTTP and TCP is given.", []row{
			{"Exec", "none", "a command in the container that ends with 0.", nil},
			{"HTTP", "none", "a request in the set's network that is answered with 200 to 399.", nil},
			{"TCP", "none", "a port in the set's network that takes connections.", port()},
			{"Interval", "200ms", "time between two tries; unless it is given, the first follow faster.", nil},
			{"Timeout", "2s", "time that one try may take.", nil},
			{"Deadline", "60s", "time for all tries.", nil},
		}},
		{reflect.TypeFor[Live](), "A question that mosd asks a container as long as it runs; one that does not answer is restarted, later and later when that does not help. One of Exec, HTTP, TCP and Health is given.", []row{
			{"Exec", "none", "a command in the container that ends with 0.", nil},
			{"HTTP", "none", "a request in the set's network that is answered with 200 to 399.", nil},
			{"TCP", "none", "a port in the set's network that takes connections.", port()},
			{"Health", "false", "whether the Engine's health check is asked; the other keys do not count then.", nil},
			{"Interval", "10s", "time between two questions.", nil},
			{"Timeout", "2s", "time for one answer.", nil},
			{"Failures", "3", "wrong answers in a row until the container is restarted.", minimum()},
		}},
		{reflect.TypeFor[Backoff](), "When a container that ended is started again, as Restart says. mosd does so then, not the Engine, whose own pauses are 100ms, doubled up to 1m and forgotten after 10s.", []row{
			{"Pauses", needed, `times such as ["1s", "10s", "1m"]: the first is waited after the first end, the last one after all others.`, nil},
			{"Reset", "10m", "who ran so long has the first pause again.", nil},
		}},
		{reflect.TypeFor[HTTPProbe](), "The request of a probe.", []row{
			{"Port", needed, "at 127.0.0.1 in the set's network.", port()},
			{"Path", "/", "what is asked for.", pattern("^(/.*)?$")},
		}},
		{reflect.TypeFor[Hooks](), "Commands that are run in a container.", []row{
			{"PostStart", "none", "after its start.", nil},
			{"PreStop", "none", "before it is stopped; it is stopped also when that fails, or takes longer than a minute and its Grace.", nil},
		}},
		{reflect.TypeFor[Stop](), "How a container is stopped.", []row{
			{"Signal", "of the image, else SIGTERM", "what it is sent first.", nil},
			{"Grace", "10s", "time until it is killed; 0s kills at once.", nil},
		}},
		{reflect.TypeFor[Update](), "How a container is replaced by one of another image or other options.", []row{
			{"Strategy", "swap", "overlap: both run until the new one is ready. swap: the new one is made, then the old one stopped and the new one started. restart: the old one is stopped, then the new one made and started.", nil},
			{"MinReady", "0s", "time that the new one must be ready before the old one is removed.", nil},
			{"Deadline", "60s", "time for the new one to be ready, unless Ready has its own; then the old one comes back. With Health it is 5m, with Once none, unless it is given.", nil},
		}},
		{reflect.TypeFor[Log](), "Where the Engine puts what a container writes.", []row{
			{"Driver", "of the Engine", "log driver.", nil},
			{"Options", "none", "options of the driver.", nil},
		}},
	}
}

// nameForm is that of the names of sets and containers.
const nameForm = "^[a-zA-Z0-9][a-zA-Z0-9_-]{1,39}$"

func pattern(p string) map[string]any { return map[string]any{"pattern": p} }
func minimum() map[string]any         { return map[string]any{"minimum": 0} }
func between(a, b int) map[string]any { return map[string]any{"minimum": a, "maximum": b} }
func port() map[string]any            { return between(1, 65535) }
func percentForm() map[string]any     { return map[string]any{"exclusiveMinimum": 0, "maximum": 100} }

func absolute() map[string]any {
	return pattern("^(/.*)?$")
}

func setKeys() []row {
	return []row{
		{"Name", needed, "2 to 40 letters, digits, `_` and `-`; the containers are named NAME.CONTAINER.", pattern(nameForm)},
		{"CPU", "no limit", "cores of the set as a whole; without it containers have no percents of it.", nil},
		{"MEM", "no limit", "memory of the set as a whole, 6m at least; without it containers have no percents of it.", nil},
		{"Overcommit", "false", "whether the CPU of the containers may be more than 100 percent in all.", nil},
		{"Cgroup", "none", "settings of the cgroup of the set as a whole, as Cgroup of Options has them for a container. docker mos cgroup set set/NAME changes them while the set is there, and goes before.", nil},
		{"Network", "the Engine's bridge", "the network that the set is made in.", nil},
		{"Networks", "none", "further ones.", nil},
		{"Volume", "none", "the volume that the containers share.", nil},
		{"Hostname", "the name of the set", "host name of all containers.", nil},
		{"DNS", "of the Engine", "name servers.", nil},
		{"Hosts", "none", "lines of /etc/hosts, each a name and an address or host-gateway.", nil},
		{"Ports", "none", "published ports as docker run -p takes them, `[[HOST-IP:]HOST-PORT:]PORT[/udp]`.", nil},
		{"SHM", "64m", "size of the /dev/shm that the containers share.", nil},
		{"Sysctls", "of the Engine", "net.*, fs.mqueue.*, and the kernel's msgmax, msgmnb, msgmni, sem, shmall, shmmax, shmmni, shm_rmid_forced.", nil},
		{"PID", "false", "whether the containers see each other's processes.", nil},
		{"Infra", "our own", "the infra container.", nil},
		{"Labels", "none", "labels of the infra container.", nil},
		{"Annotations", "none", "annotations of the infra container; of Engines from 24 on.", nil},
		{"Containers", needed, "those that work in the set.", map[string]any{"minItems": 1}},
	}
}

func networkKeys() []row {
	return []row{
		{"Name", "bridge", "a network that exists; none and host are possible for the first one, alone.", nil},
		{"IP", "chosen by the network", "IPv4 address.", nil},
		{"IP6", "chosen by the network", "IPv6 address.", nil},
		{"MAC", "chosen by the Engine", "MAC address.", pattern("^([0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5})?$")},
		{"Aliases", "none", "further names of the set in the network.", nil},
		{"Options", "none", "options of the network's driver.", nil},
	}
}

func volumeKeys() []row {
	return []row{
		{"Name", "SET-data", "a volume, which is made when it is missing.", nil},
		{"Driver", "mos-lvm", "volume driver.", nil},
		{"Size", "as it is", "hard limit, which can be raised while the set runs; of mos-lvm only.", nil},
		{"Options", "none", "options of the driver.", nil},
		{"Path", "nowhere", "where all containers have it that name no mount of it themselves.", absolute()},
	}
}

func processKeys() []row {
	return []row{
		{"CPU", "no limit but the set's", "percent of the set's cores.", percentForm()},
		{"MEM", "no limit but the set's", "percent of the set's memory.", percentForm()},
		{"Cores", "no limit but the set's", "cores, in place of CPU.", nil},
		{"Memory", "no limit but the set's", "memory, in place of MEM, 6m at least.", nil},
		{"Command", "of the image", "the arguments behind the image.", nil},
		{"Entrypoint", "of the image", "the program, and arguments before Command.", nil},
		{"Env", "none", "variables.", nil},
		{"EnvFiles", "none", "files with lines NAME=VALUE, from the folder of the set's file; what Env says wins.", nil},
		{"User", "of the image", "USER or USER:GROUP.", nil},
		{"Groups", "none", "further groups.", nil},
		{"WorkDir", "of the image", "working directory.", absolute()},
		{"TTY", "false", "whether it has a terminal.", nil},
		{"Mounts", "the set's volume at its Path", "what it has at which paths.", nil},
		{"Files", "none", "files that are put into it before its start.", nil},
	}
}

func rightKeys() []row {
	return []row{
		{"Ulimits", "of the Engine", "limits, each SOFT or SOFT:HARD.", nil},
		{"CapAdd", "none", "capabilities beside those of the Engine.", nil},
		{"CapDrop", "none", "capabilities that are taken away.", nil},
		{"Devices", "none", "as docker run --device takes them, /dev/HOST[:/dev/CONTAINER][:rwm] or VENDOR/CLASS=NAME.", nil},
		{"SecurityOpt", "none", "as docker run --security-opt takes them, but for seccomp profiles in files.", nil},
		{"ReadOnly", "false", "whether the image's files cannot be changed.", nil},
		{"Privileged", "false", "whether it has all rights on the host.", nil},
		{"Init", "false", "whether an init of the Engine reaps processes; not with PID.", nil},
		{"PIDs", "no limit", "the most processes.", minimum()},
		{"Cgroup", "none", "settings of its cgroup that no Engine has, by their names in cgroup version 2, see cgroup-settings.md; mosd keeps them, without mosd nobody does. The settings that docker mos cgroup set gives the container go before.", nil},
		{"OOMScoreAdj", "0", "how soon it is killed when the host lacks memory, -1000 to 1000.", between(-1000, 1000)},
	}
}

func lifeKeys() []row {
	return []row{
		{"Once", "false", "whether it is run to its end, with code 0, before those of later Indexes are started.", nil},
		{"DependsOn", "none", "containers that it waits for, of no higher Index.", nil},
		{"Health", "of the image", "the Engine's health check.", nil},
		{"Ready", "none", "a question whether it is ready, at its start.", nil},
		{"Live", "none", "a question whether it works, which mosd asks again and again; without mosd nobody does.", nil},
		{"Restart", "always; no with Once", "no, on-failure, on-failure:N, always or unless-stopped.", pattern("^(no|always|unless-stopped|on-failure(:[0-9]+)?)?$")},
		{"Backoff", "none", "pauses between restarts by mosd, in place of the Engine's.", nil},
		{"Hooks", "none", "commands after its start and before its stop.", nil},
		{"Stop", "of the image", "how it is stopped.", nil},
		{"Update", "swap", "how it is replaced.", nil},
		{"Log", "of the Engine", "where its output goes.", nil},
		{"Labels", "none", "labels.", nil},
		{"Annotations", "none", "annotations; of Engines from 24 on.", nil},
	}
}

func fileKeys() []row {
	return []row{
		{"Path", needed, "where the container has it.", pattern("^/.+$")},
		{"Source", "none", "a file of 1m at most, from the folder of the set's file. It is copied; no label and no docker inspect shows what is in it.", nil},
		{"Text", "none", "what is in it, in place of Source.", nil},
		{"Digest", "of Source", "sha256:HEX of what Source has; when there is no Source, the file of the container that is replaced is taken.", pattern("^(sha256:[0-9a-f]{64})?$")},
		{"Mode", "0444", "its rights, in octal digits.", pattern("^(0?[0-7]{3})?$")},
		{"User", "0:0", "its owner, UID or UID:GID.", pattern("^([0-9]{1,9}(:[0-9]{1,9})?)?$")},
	}
}

func mountKeys() []row {
	return []row{
		{"Type", "set", "set, the set's volume; bind, a path of the host; volume, another one; or tmpfs, memory.", nil},
		{"Source", "none", "the path of a bind, the name of a volume.", nil},
		{"Subpath", "all of it", "a directory of the set's volume; of Engines from 26 on.", nil},
		{"Path", needed, "where the container has it.", pattern("^/.+$")},
		{"ReadOnly", "false", "whether it cannot be changed.", nil},
		{"Size", "half of the host's memory", "the most that a tmpfs holds.", nil},
	}
}
