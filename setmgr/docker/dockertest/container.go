package dockertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// box is one container.
type box struct {
	id, name string
	config   container.Config
	host     container.HostConfig // its limits and policy are those of now
	wish     map[string]string    // addresses in networks
	image    Image
	netOf    string // id of the container whose network it shares
	nets     map[string]plan.Net
	state    plan.State
	code     int
	failed   string // why it could not be started the last time
	pid, ns  int
	byHand   bool // somebody stopped it
	restarts int
	looks    int
	files    map[string][]byte
	uses     int64 // memory, of what was written into it
	unnamed  []string
	created  time.Time
	started  time.Time
	finished time.Time
}

func (b *box) line(f *Fake) string {
	out := fmt.Sprintf("%s %s %s", b.name, b.image.ID, b.state)
	if b.state == plan.Exited {
		out += fmt.Sprintf(" with %d", b.code)
	}
	out += " policy " + b.policy() + ": " + b.limits().String()
	if h := b.health(); h != "" {
		out += ", " + h
	}
	if b.netOf != "" {
		of := "one that is gone"
		if d := f.byID(b.netOf); d != nil {
			of = d.name
		}
		out += ", in the network of " + of
	}
	if f.stranded(b) {
		out += ", stranded"
	}
	lines := []string{out}
	for _, n := range slices.Sorted(maps.Keys(b.nets)) {
		lines = append(lines, "in "+n+" "+b.nets[n].IP)
	}
	return strings.Join(lines, ", ")
}

func (b *box) live() bool {
	return b.state == plan.Running || b.state == plan.Paused || b.state == plan.Restarting
}

func (b *box) policy() string {
	p := string(b.host.RestartPolicy.Name)
	switch {
	case p == "":
		return "no"
	case b.host.RestartPolicy.MaximumRetryCount > 0:
		return p + ":" + strconv.Itoa(b.host.RestartPolicy.MaximumRetryCount)
	}
	return p
}

func (b *box) limits() plan.Limits {
	l := plan.Limits{MEM: spec.Bytes(max(0, b.host.Memory))}
	switch {
	case b.host.NanoCPUs > 0:
		l.CPU = spec.Cores(float64(b.host.NanoCPUs) / 1e9)
	case b.host.CPUQuota > 0:
		l.CPU = spec.Cores(float64(b.host.CPUQuota) / float64(max(b.host.CPUPeriod, 1)))
	}
	return l
}

// health is what the container's check says now, "" without one.
func (b *box) health() string {
	c := b.config.Healthcheck
	switch {
	case c == nil && len(b.image.Health) == 0, c != nil && slices.Equal(c.Test, []string{"NONE"}):
		return ""
	case !b.live():
		return "unhealthy"
	case len(b.image.Health) > 0:
		return b.image.Health[min(b.looks, len(b.image.Health)-1)]
	}
	test := c.Test
	if len(test) > 0 && test[0] == "CMD-SHELL" {
		test = append([]string{"sh", "-c"}, test[1:]...)
	} else if len(test) > 0 {
		test = test[1:]
	}
	if code, _ := b.shell(test); code == 0 {
		return "healthy"
	}
	return "starting"
}

// byID finds a container by its id or name, nil without one.
func (f *Fake) byID(id string) *box {
	for _, b := range f.boxes {
		if b.id == id || b.name == id {
			return b
		}
	}
	return nil
}

func (f *Fake) find(id string) (*box, error) {
	if b := f.byID(id); b != nil {
		return b, nil
	}
	return nil, fault.NotFound("No such container: %s", id)
}

// about runs a call about one container.
func (f *Fake) about(ctx context.Context, verb, id string, do func(*box) error) error {
	f.mu.Lock()
	name := id
	if b := f.byID(id); b != nil {
		name = b.name
	}
	f.mu.Unlock()
	return f.call(ctx, verb+" "+name, func() error {
		b, err := f.find(id)
		if err != nil {
			return err
		}
		return do(b)
	})
}

// Create implements [setmgr.Engine].
func (f *Fake) Create(ctx context.Context, c render.Create) (id string, err error) {
	err = f.call(ctx, "create "+c.Name, func() error {
		id, err = f.create(c)
		return err
	})
	return id, err
}

func (f *Fake) create(c render.Create) (string, error) {
	if have := f.byID(c.Name); have != nil {
		for _, key := range []string{label.Set, label.Role, label.Member, label.Hash, label.Rev} {
			if have.config.Labels[key] != c.Config.Labels[key] {
				return "", fault.Exists("container %s is there already and is another: remove or rename it (docker rm, docker rename)", c.Name)
			}
		}
		return have.id, nil
	}
	i, there := f.store[c.Config.Image]
	if !there {
		return "", fault.NotFound("No such image: %s", c.Config.Image)
	}
	b := &box{
		id: fmt.Sprintf("%064x", f.number()), name: c.Name, config: *c.Config, host: *c.Host, image: i, state: plan.Created,
		nets: map[string]plan.Net{}, wish: map[string]string{}, files: map[string][]byte{}, created: time.Now(),
	}
	if beside, shares := strings.CutPrefix(string(c.Host.NetworkMode), "container:"); shares {
		donor := f.byID(beside)
		if donor == nil {
			return "", fault.NotFound("container %s, whose network %s is to share, is not there: make that first", beside, c.Name)
		}
		b.netOf = donor.id
	} else if mode := string(c.Host.NetworkMode); mode != "" && mode != "none" && mode != "host" {
		b.nets[mode] = plan.Net{}
	}
	if c.Net != nil {
		for name, ep := range c.Net.EndpointsConfig {
			if ep.IPAMConfig != nil && ep.IPAMConfig.IPv4Address.IsValid() {
				b.wish[name] = ep.IPAMConfig.IPv4Address.String()
			}
		}
	}
	f.volumesOf(b)
	f.boxes = append(f.boxes, b)
	return b.id, nil
}

// volumesOf makes the volumes that a new container names and nobody made, and its
// unnamed ones.
func (f *Fake) volumesOf(b *box) {
	taken := map[string]bool{}
	for _, m := range b.host.Mounts {
		taken[m.Target] = true
		if _, there := f.volumes[m.Source]; m.Type == mount.TypeVolume && !there {
			f.volumes[m.Source] = ""
		}
	}
	for _, path := range b.image.Volumes {
		if !taken[path] {
			b.unnamed = append(b.unnamed, path)
		}
	}
}

// Start implements [setmgr.Engine].
func (f *Fake) Start(ctx context.Context, id string) error {
	return f.about(ctx, "start", id, func(b *box) error {
		if b.state == plan.Running {
			return nil
		}
		b.byHand, b.restarts = false, 0
		return f.start(b)
	})
}

// start gives a container a process, in a network namespace that is new or shared.
func (f *Fake) start(b *box) error {
	var ns int
	if b.netOf == "" {
		if err := f.attach(b); err != nil {
			return err
		}
		ns = f.number()
	} else {
		donor := f.byID(b.netOf)
		switch {
		case donor == nil:
			return fault.Conflict("container %s is beside container %.12s, which is gone: it must be made anew", b.name, b.netOf)
		case donor.state != plan.Running:
			return fault.Conflict("cannot join network of a non running container: %.12s: start that first", b.netOf)
		}
		ns = donor.ns
	}
	before := b.state
	b.state = plan.Running
	if err := f.fits(b, b.limits()); err != nil {
		b.state = before
		return err
	}
	f.tell(b, "start")
	b.pid, b.ns, b.looks, b.code, b.failed, b.started = 1000+f.number(), ns, 0, 0, "", time.Now()
	if code, ends := b.ends(); ends {
		f.end(b, code)
	}
	return nil
}

// attach gives a container its addresses.
func (f *Fake) attach(b *box) error {
	for name := range b.nets {
		ip := b.wish[name]
		if !f.networks[name] {
			return fault.NotFound("network %s not found", name)
		}
		for _, other := range f.boxes {
			if other != b && other.state == plan.Running && ip != "" && other.nets[name].IP == ip {
				return fault.Conflict("Address already in use: %s in network %s", ip, name)
			}
		}
		if ip == "" {
			n := f.number()
			ip = fmt.Sprintf("172.17.%d.%d", n/200, n%200+2)
		}
		b.nets[name] = plan.Net{IP: ip}
	}
	return nil
}

// end is the end of a container's process, which is not by hand.
func (f *Fake) end(b *box, code int) {
	f.stop(b, code)
	p := b.host.RestartPolicy
	_, self := b.ends()
	if self && p.Name == container.RestartPolicyOnFailure && code != 0 && p.MaximumRetryCount > 0 {
		b.restarts = p.MaximumRetryCount // and has failed each time
		return
	}
	if !restarts(b) {
		return
	}
	b.restarts++
	if self {
		b.state = plan.Restarting
		return
	}
	f.again(b)
}

// again starts a container by its policy. One that cannot be started stays down, with
// the code that it ended with.
func (f *Fake) again(b *box) {
	if err := f.start(b); err != nil {
		b.state, b.failed = plan.Exited, err.Error()
	}
}

// stop takes a container's process away. Its networks stay, its addresses do not.
func (f *Fake) stop(b *box, code int) {
	b.state, b.code, b.pid, b.finished = plan.Exited, code, 0, time.Now()
	f.tell(b, "die")
	for n := range b.nets {
		b.nets[n] = plan.Net{}
	}
}

// restarts says whether the Engine starts a container that ended again.
func restarts(b *box) bool {
	switch b.host.RestartPolicy.Name {
	case container.RestartPolicyAlways, container.RestartPolicyUnlessStopped:
		return !b.byHand
	case container.RestartPolicyOnFailure:
		return !b.byHand && b.code != 0
	case container.RestartPolicyDisabled, "":
	}
	return false
}

// The codes of processes that were told to end, and that were made to.
const (
	terminated = 143
	killed     = 137
)

// Stop implements [setmgr.Engine].
func (f *Fake) Stop(ctx context.Context, id, _ string, _ *spec.Duration) error {
	return absentIsWell(f.about(ctx, "stop", id, func(b *box) error {
		if b.live() {
			b.byHand = true
			f.stop(b, terminated)
			f.tell(b, "stop")
		}
		return nil
	}))
}

// Kill implements [setmgr.Engine].
func (f *Fake) Kill(ctx context.Context, id, signal string) error {
	return f.about(ctx, "kill", id, func(b *box) error {
		fatal := slices.Contains([]string{"", "KILL", "SIGKILL", "9"}, signal)
		switch {
		case !b.live() && fatal:
		case !b.live():
			return fault.Conflict("container %s does not run: start it first", b.name)
		case fatal:
			b.byHand = true
			f.stop(b, killed)
		}
		return nil
	})
}

// Remove implements [setmgr.Engine].
func (f *Fake) Remove(ctx context.Context, id string, force bool) error {
	return absentIsWell(f.about(ctx, "remove", id, func(b *box) error {
		if b.live() && !force {
			return fault.Conflict("container %s runs: stop it first", b.name)
		}
		f.boxes = slices.DeleteFunc(f.boxes, func(other *box) bool { return other == b })
		return nil
	}))
}

// Rename implements [setmgr.Engine].
func (f *Fake) Rename(ctx context.Context, id, name string) error {
	return f.about(ctx, "rename", id, func(b *box) error {
		if other := f.byID(name); other != nil && other != b {
			return fault.Exists("name %s is that of another container: remove or rename that (docker rm, docker rename)", name)
		}
		b.name = name
		return nil
	})
}

// SetRestart implements [setmgr.Engine].
func (f *Fake) SetRestart(ctx context.Context, id, policy string) error {
	p, err := render.Restart(policy)
	if err != nil {
		return err
	}
	return f.about(ctx, "set-restart", id, func(b *box) error {
		b.host.RestartPolicy = p
		return nil
	})
}

// WaitEnd implements [setmgr.Engine].
func (f *Fake) WaitEnd(ctx context.Context, id string) (code int, err error) {
	if err := f.about(ctx, "wait-end", id, func(*box) error { return nil }); err != nil {
		return 0, err
	}
	err = f.wait(ctx, func() (bool, error) {
		b, err := f.find(id)
		if err != nil {
			return false, err
		}
		code = b.code
		return b.state != plan.Running && b.state != plan.Paused, nil
	})
	return code, err
}

// WaitHealthy implements [setmgr.Engine].
func (f *Fake) WaitHealthy(ctx context.Context, id string) error {
	if err := f.about(ctx, "wait-healthy", id, func(*box) error { return nil }); err != nil {
		return err
	}
	return f.wait(ctx, func() (bool, error) {
		b, err := f.find(id)
		if err != nil {
			return false, err
		}
		for ; b.looks < len(b.image.Health)-1 && b.health() == "starting"; b.looks++ {
		}
		switch h := b.health(); {
		case h == "":
			return false, fault.Invalid("container %s has no health check: give it one", b.name)
		case b.state == plan.Exited || b.state == plan.Dead:
			return false, fault.Conflict("container %s ended with code %d: docker logs says why", b.name, b.code)
		case h == "unhealthy":
			return false, fault.Conflict("container %s is unhealthy", b.name)
		default:
			return h == "healthy", nil
		}
	})
}

// mostOutput is how much of a command's output is kept.
const mostOutput = 64 << 10

// Exec implements [setmgr.Engine].
func (f *Fake) Exec(ctx context.Context, id string, cmd []string) (code int, output string, err error) {
	hangs := len(cmd) > 0 && cmd[0] == "sleep"
	err = f.about(ctx, "exec", id, func(b *box) error {
		if b.state != plan.Running {
			return fault.Conflict("container %s does not run: docker logs says why", b.name)
		}
		if !hangs {
			code, output = b.shell(cmd)
		}
		return nil
	})
	if hangs && err == nil {
		err = f.wait(ctx, func() (bool, error) { return false, nil })
	}
	return code, output[:min(len(output), mostOutput)], err
}

// Tail implements [setmgr.Engine]. Containers write what their image says.
func (f *Fake) Tail(ctx context.Context, id string) (text string, err error) {
	err = f.ask(ctx, func() error {
		b, err := f.find(id)
		if err == nil {
			text = b.image.Says
		}
		return err
	})
	return text, err
}

// PID implements [setmgr.Engine].
func (f *Fake) PID(ctx context.Context, id string) (pid int, err error) {
	err = f.ask(ctx, func() error {
		b, err := f.find(id)
		if err == nil {
			pid = b.pid
		}
		return err
	})
	return pid, err
}
