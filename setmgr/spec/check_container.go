package spec

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/mosdocker/mosdocker/internal/near"
	"github.com/mosdocker/mosdocker/setmgr/setting"
)

func (f *flaws) container(s *Set, c Container, at string) {
	f.name(at+"/Name", "the container", c.Name)
	if c.Name == reserved {
		f.add(at+"/Name", "%s is the container that holds the set's network: choose another name", reserved)
	}
	if c.Index < 0 {
		f.add(at+"/Index", "%d is below zero: count from 0", c.Index)
	}
	if c.Image == "" {
		f.add(at+"/Image", "the container has no image: name one as docker run takes it, such as shop/app:41")
	}
	f.image(at+"/Image", c.Image)
	at += "/Options"
	o := c.Options
	f.labels(at, o.Labels, o.Annotations)
	f.process(at, o)
	f.mounts(s, o.Mounts, at+"/Mounts")
	f.files(at, o)
	f.rights(at, o)
	f.cgroup(at+"/Cgroup", o.Cgroup)
	f.devices(at+"/Devices", o.Devices)
	f.life(at, o)
	f.health(at+"/Health", o.Health)
	f.ready(at+"/Ready", o.Ready)
	f.live(at+"/Live", o)
	if s.PID && o.Init {
		f.add(at+"/Init", "with PID, processes of the whole set are reaped by the infra container: drop Init")
	}
}

// process checks what runs in a container.
func (f *flaws) process(at string, o Options) {
	f.command(at+"/Command", o.Command, true)
	f.command(at+"/Entrypoint", o.Entrypoint, true)
	for _, name := range slices.Sorted(maps.Keys(o.Env)) {
		if !line(name) || strings.Contains(name, "=") {
			f.add(join(at+"/Env", name), "%.60q is no name of a variable: take printable characters without blanks and '='", name)
		}
		if strings.Contains(o.Env[name], "\x00") {
			f.add(join(at+"/Env", name), "the value has a zero byte, which no process can be given: drop it")
		}
	}
	for i, file := range o.EnvFiles {
		if file == "" || strings.Contains(file, "\x00") {
			f.add(index(at+"/EnvFiles", i), "%.60q is no file: write its path, from the folder of the set's file", file)
		}
	}
	if o.User != "" && (!line(o.User) || strings.Count(o.User, ":") > 1) {
		f.add(at+"/User", "%.60q is no user: write USER or USER:GROUP, each a name or a number", o.User)
	}
	for i, g := range o.Groups {
		if !line(g) || strings.Contains(g, ":") {
			f.add(index(at+"/Groups", i), "%.60q is no group: write a name or a number", g)
		}
	}
	if o.WorkDir != "" && (!path.IsAbs(o.WorkDir) || strings.ContainsAny(o.WorkDir, "\x00\n")) {
		f.add(at+"/WorkDir", "%.100q is no absolute path: write one such as /srv", o.WorkDir)
	}
}

// command refuses words that no process can be given. An empty first one is an
// entrypoint that is taken away from the image.
func (f *flaws) command(at string, words []string, first bool) {
	if len(words) > 0 && words[0] == "" && !first {
		f.add(index(at, 0), "the command is empty: name a program")
	}
	for i, w := range words {
		if strings.Contains(w, "\x00") {
			f.add(index(at, i), "the word has a zero byte, which no process can be given: drop it")
		}
	}
}

// mounts checks a container's, and that one path has one.
func (f *flaws) mounts(s *Set, mounts []Mount, at string) {
	taken := map[string]string{}
	own := func(m Mount) bool { return m.Type == MountSet || m.Type == "" }
	if v := s.Volume; v != nil && v.Path != "" && !slices.ContainsFunc(mounts, own) {
		taken[v.Path] = "the set's volume"
	}
	for i, m := range mounts {
		path := index(at, i)
		f.mount(s, m, path)
		f.target(path+"/Path", m.Path)
		if other, ok := taken[m.Path]; ok && m.Path != "" {
			f.add(path+"/Path", "%.100s has %s already: mount each on its own path", m.Path, other)
		}
		taken[m.Path] = "mount " + strconv.Itoa(i+1) + " of the container"
	}
}

func (f *flaws) mount(s *Set, m Mount, at string) {
	if m.Size > 0 && m.Type != MountTmpfs {
		f.add(at+"/Size", "only a tmpfs has its size here: drop it, or write Type tmpfs")
	}
	if m.Subpath != "" && m.Type != MountSet && m.Type != "" {
		f.add(at+"/Subpath", "only the set's volume is mounted in part: drop it")
	}
	switch m.Type {
	case MountSet, "":
		f.ofVolume(s, m, at)
	case MountBind:
		if !path.IsAbs(m.Source) || strings.ContainsAny(m.Source, "\x00\n") {
			f.add(at+"/Source", "%.100q is no absolute path of the host: write what is to be mounted, such as /srv/web", m.Source)
		}
	case MountVolume:
		if !word(m.Source, "_.-") || len(m.Source) > 255 {
			f.add(at+"/Source", "%.60q is no name of a volume: write one that docker volume ls shows, or a new one", m.Source)
		}
	case MountTmpfs:
		if m.Source != "" {
			f.add(at+"/Source", "a tmpfs comes from nowhere: drop Source")
		}
	default:
		f.add(at+"/Type", "%.20q is no type of a mount: write set, bind, volume or tmpfs", m.Type)
	}
}

// ofVolume checks a mount of the set's volume.
func (f *flaws) ofVolume(s *Set, m Mount, at string) {
	if s.Volume == nil {
		f.add(at, "the set has no volume: write Volume at the top of the set, or a Type of the mount (bind, volume or tmpfs)")
	}
	if m.Source != "" {
		f.add(at+"/Source", "the set's volume has its name in Volume at the top of the set: drop Source, or write Type volume or bind")
	}
	p := m.Subpath
	if p != "" && (path.IsAbs(p) || path.Clean(p) != p || p == "." || p == ".." || strings.HasPrefix(p, "../") || strings.ContainsAny(p, "\x00\n")) {
		f.add(at+"/Subpath", "%.100q is no clean path inside of the volume: write one such as logs/app, without . and ..", p)
	}
}

// cgroup checks settings of a container's cgroup.
func (f *flaws) cgroup(at string, settings map[string]string) {
	parsed := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value, err := setting.Parse(name, settings[name])
		if err != nil {
			f.add(join(at, name), "%v", err)
			continue
		}
		parsed[name] = value
	}
	if err := setting.Clash(parsed); err != nil {
		f.add(at, "%v", err)
	}
}

// rights checks what a container may do.
func (f *flaws) rights(at string, o Options) {
	for _, name := range slices.Sorted(maps.Keys(o.Ulimits)) {
		if _, err := units.ParseUlimit(name + "=" + o.Ulimits[name]); err != nil {
			f.add(join(at+"/Ulimits", name), "%.60q is no limit: %v: write SOFT or SOFT:HARD, such as \"nofile\": \"1024:4096\"", name+"="+o.Ulimits[name], err)
		}
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"/CapAdd", o.CapAdd}, {"/CapDrop", o.CapDrop}} {
		for i, name := range list.names {
			plain := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
			if known := capabilities(); plain != "ALL" && !slices.Contains(known, plain) {
				f.add(index(at+list.key, i), "%.40q is no capability%s", name, meant(plain, known, ": write one as capabilities(7) names them, such as NET_ADMIN"))
			}
		}
	}
	for i, opt := range o.SecurityOpt {
		f.security(index(at+"/SecurityOpt", i), opt)
	}
	if o.PIDs < 0 {
		f.add(at+"/PIDs", "%d is below zero: give the most processes, or leave it out for no limit", o.PIDs)
	}
	if o.OOMScoreAdj < -1000 || o.OOMScoreAdj > 1000 {
		f.add(at+"/OOMScoreAdj", "%d is none that the kernel takes: give -1000 to 1000", o.OOMScoreAdj)
	}
}

// meant is a question for the one that was meant, or what else is to be said.
func meant(plain string, known []string, or string) string {
	if k := near.Of(strings.ToLower(strings.ReplaceAll(plain, "_", "")), known); k != "" {
		return ": did you mean " + k + "?"
	}
	return or
}

func capabilities() []string {
	return strings.Fields(`AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN
		DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN
		MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP
		SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO
		SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`)
}

func (f *flaws) security(at, opt string) {
	name, value, _ := strings.Cut(opt, "=")
	switch {
	case !line(opt):
		f.add(at, "%.60q is no security option: write one as docker run takes it", opt)
	case name == "seccomp" && value != "unconfined" && value != "builtin":
		f.add(at, "a seccomp profile in a file cannot be sent to an Engine: write seccomp=unconfined or seccomp=builtin, or make it the default in the Engine's daemon.json")
	case name == "systempaths" && value != "unconfined":
		f.add(at, "%.60q is unknown: write systempaths=unconfined", opt)
	case (name == "apparmor" || name == "label") && value == "":
		f.add(at, "%.60q lacks what is behind '=': write one as docker run takes it", opt)
	case slices.Contains([]string{"apparmor", "label", "no-new-privileges", "seccomp", "systempaths", "writable-cgroups"}, strings.TrimSuffix(name, ":true")):
	default:
		f.add(at, "%.60q is no security option: there are apparmor=, label=, no-new-privileges, seccomp=, systempaths=unconfined, writable-cgroups=", opt)
	}
}

// devices checks what docker run --device takes, and names of the Container Device
// Interface.
func (f *flaws) devices(at string, devices []string) {
	taken := map[string]bool{}
	for i, d := range devices {
		if !strings.HasPrefix(d, "/") && strings.Contains(d, "/") && strings.Contains(d, "=") && line(d) {
			continue
		}
		parts := strings.Split(d, ":")
		if n := len(parts); n > 1 && mode(parts[n-1]) {
			parts = parts[:n-1]
		}
		inside := parts[len(parts)-1]
		switch {
		case len(parts) > 2 || !path.IsAbs(parts[0]) || !path.IsAbs(inside) || strings.ContainsAny(d, "\x00\n"):
			f.add(index(at, i), "%.80q is no device: write /dev/HOST[:/dev/CONTAINER][:rwm], or VENDOR/CLASS=NAME", d)
		case taken[inside]:
			f.add(index(at, i), "the container has %.80s already: name each device once", inside)
		}
		taken[inside] = true
	}
}

// mode says whether s is letters of rwm, each once at most.
func mode(s string) bool {
	return s != "" && strings.Trim(s, "rwm") == "" && strings.Count(s, "r") < 2 && strings.Count(s, "w") < 2 && strings.Count(s, "m") < 2
}

// atLeast refuses times below zero, and those that an Engine takes for none.
func (f *flaws) atLeast(at string, d, least Duration) {
	if d < 0 || d > 0 && d < least {
		f.add(at, "%v is too short: give %v at least", d, max(least, 0))
	}
}

const millisecond = Duration(time.Millisecond)

func (f *flaws) health(at string, h *Health) {
	if h == nil {
		return
	}
	kind := ""
	if len(h.Cmd) > 0 {
		kind = h.Cmd[0]
	}
	n := len(h.Cmd)
	switch {
	case kind == "CMD" && n > 1 && h.Cmd[1] != "", kind == "CMD-SHELL" && n == 2 && h.Cmd[1] != "", kind == "NONE" && n == 1:
	default:
		f.add(at+"/Cmd", `the check has no command: write ["CMD", "/program", "argument"], ["CMD-SHELL", "line of a shell"], or ["NONE"] for none`)
	}
	f.command(at+"/Cmd", h.Cmd, true)
	f.atLeast(at+"/Interval", h.Interval, millisecond)
	f.atLeast(at+"/Timeout", h.Timeout, millisecond)
	f.atLeast(at+"/StartPeriod", h.StartPeriod, millisecond)
	if h.Retries < 0 {
		f.add(at+"/Retries", "%d is below zero: give a number, or leave it out for the Engine's 3", h.Retries)
	}
}

func (f *flaws) ready(at string, p *Probe) {
	if p == nil {
		return
	}
	f.asks(at, *p, "Exec, HTTP and TCP")
	f.atLeast(at+"/Deadline", p.Deadline, millisecond)
}

// asks checks the question of a probe; also are ways to ask that it has no fields for.
func (f *flaws) asks(at string, p Probe, known string, also ...string) {
	ways := also
	if len(p.Exec) > 0 {
		ways = append(ways, "Exec")
		f.command(at+"/Exec", p.Exec, false)
	}
	if p.HTTP != nil {
		ways = append(ways, "HTTP")
		f.port(at+"/HTTP/Port", p.HTTP.Port)
		if u := p.HTTP.Path; u != "" && (!strings.HasPrefix(u, "/") || !line(u)) {
			f.add(at+"/HTTP/Path", "%.100q is no path of a URL: write one such as /ready", u)
		}
	}
	if p.TCP != 0 {
		ways = append(ways, "TCP")
		f.port(at+"/TCP", p.TCP)
	}
	switch {
	case len(ways) == 0:
		f.add(at, "there is nothing to ask: give one of %s", known)
	case len(ways) > 1:
		f.add(at, "there are %s: give one of them only", strings.Join(ways, " and "))
	}
	f.atLeast(at+"/Interval", p.Interval, millisecond)
	f.atLeast(at+"/Timeout", p.Timeout, millisecond)
}

func (f *flaws) live(at string, o Options) {
	l := o.Live
	if l == nil {
		return
	}
	var also []string
	if l.Health {
		also = []string{"Health"}
	}
	f.asks(at, l.Probe(), "Exec, HTTP, TCP and Health", also...)
	switch {
	case l.Failures < 0 || l.Failures > 1000:
		f.add(at+"/Failures", "%d is no number of wrong answers: give 1 to 1000", l.Failures)
	case o.Once:
		f.add(at, "a container that runs Once is not started again: drop Live, or Once")
	}
}

func (f *flaws) port(at string, n int) {
	if n < 1 || n > 65535 {
		f.add(at, "%d is no port: give 1 to 65535", n)
	}
}

// life checks how a container is started again, stopped, replaced and written of.
func (f *flaws) life(at string, o Options) {
	policy, count, counted := strings.Cut(o.Restart, ":")
	_, err := strconv.ParseUint(count, 10, 31)
	switch {
	case !slices.Contains([]string{"", "no", "always", "unless-stopped", "on-failure"}, policy) || counted && (policy != "on-failure" || err != nil):
		f.add(at+"/Restart", "%.40q is no restart policy: write no, on-failure, on-failure:3, always or unless-stopped", o.Restart)
	case o.Once && policy != "" && policy != "no":
		f.add(at+"/Restart", "a container that runs Once is not started again: drop Restart, or Once")
	}
	f.backoff(at+"/Backoff", o)
	f.command(at+"/Hooks/PostStart", o.Hooks.PostStart, false)
	f.command(at+"/Hooks/PreStop", o.Hooks.PreStop, false)
	if !signal(o.Stop.Signal) {
		f.add(at+"/Stop/Signal", "%.40q is no signal: write one such as SIGTERM, SIGQUIT or 15", o.Stop.Signal)
	}
	if g := o.Stop.Grace; g != nil {
		f.atLeast(at+"/Stop/Grace", *g, 0)
	}
	switch o.Update.Strategy {
	case "", Swap, Restart:
	case Overlap:
		if !asksItself(o) && (o.Ready != nil || o.Update.MinReady == 0) {
			f.add(at+"/Update/Strategy", "two containers that overlap have the same ports, and nothing tells whether the new one serves: give it Ready.Exec or Health, which run in it")
		}
	default:
		f.add(at+"/Update/Strategy", "%.40q is no strategy: write %s, %s or %s", o.Update.Strategy, Overlap, Swap, Restart)
	}
	f.atLeast(at+"/Update/MinReady", o.Update.MinReady, 0)
	f.atLeast(at+"/Update/Deadline", o.Update.Deadline, millisecond)
	if d := o.Log.Driver; d != "" && !line(d) {
		f.add(at+"/Log/Driver", "%.40q is no log driver: docker info lists those that there are", d)
	}
	if o.Log.Driver == "none" && len(o.Log.Options) > 0 {
		f.add(at+"/Log/Options", "the log driver none has no options: drop them, or choose another driver")
	}
	f.keyed(at+"/Log/Options", o.Log.Options)
}

func (f *flaws) backoff(at string, o Options) {
	b := o.Backoff
	switch {
	case b == nil:
		return
	case o.Once || o.Restart == "no":
		f.add(at, "a container that runs Once, or with Restart no, is not started again: drop Backoff, or that")
	case len(b.Pauses) == 0:
		f.add(at, `there are no Pauses: give some, such as ["1s", "10s", "1m"]`)
	}
	for i, p := range b.Pauses {
		f.atLeast(at+"/Pauses/"+strconv.Itoa(i), p, 100*millisecond)
	}
	f.atLeast(at+"/Reset", b.Reset, millisecond)
}

// asksItself says whether a container is asked in itself whether it is ready, and
// not at a port that others may have, too.
func asksItself(o Options) bool {
	return o.Once || o.Ready != nil && len(o.Ready.Exec) > 0 || o.Health != nil && len(o.Health.Cmd) > 0 && o.Health.Cmd[0] != "NONE"
}

// signal says whether s is empty or one that Linux has.
func signal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return n > 0 && n <= 64 && strconv.Itoa(n) == s
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if base, more, ok := strings.Cut(name, "+"); ok || strings.HasPrefix(name, "RTM") {
		n, err := strconv.Atoi(more)
		return base == "RTMIN" && (!ok || err == nil && n > 0 && n <= 15) || name == "RTMAX"
	}
	return s == "" || slices.Contains(strings.Fields(`ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL
		PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH
		XCPU XFSZ`), name)
}
