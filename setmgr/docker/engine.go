// Package docker is a Docker Engine as sets need it, over one client of its API.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Engine is one Docker Engine. Its methods may run at once, and each may be
// repeated: what is done already is well. Errors have the classes of
// containerd/errdefs.
type Engine struct {
	c *client.Client
	// Local says that the Engine's processes are seen here by the numbers that it
	// gives, see SharesHost.
	Local bool
	// Known, unless nil, is what Observe takes for the Engine's facts: for one who
	// has asked for them, and is done before they can be others.
	Known *render.Facts
}

// New takes a client that is open.
func New(c *client.Client) *Engine { return &Engine{c: c} }

// Open is the Engine at host, such as unix:///run/docker.sock, the default when
// empty. It makes no connection. Close ends it.
func Open(host string) (*Engine, error) {
	if host == "" {
		host = client.DefaultDockerHost
	}
	c, err := client.New(client.WithHost(host))
	if err != nil {
		return nil, fault.Invalid("docker host %.100q: %w: it looks like unix:///run/docker.sock", host, err)
	}
	return New(c), nil
}

// Close closes the client.
func (e *Engine) Close() error { return e.c.Close() }

func (e *Engine) facts(ctx context.Context) (render.Facts, error) {
	if e.Known != nil {
		return *e.Known, nil
	}
	return e.Facts(ctx)
}

// Facts is what decides how containers are made here.
func (e *Engine) Facts(ctx context.Context) (render.Facts, error) {
	i, err := e.c.Info(ctx, client.InfoOptions{})
	if err != nil {
		return render.Facts{}, e.told(ctx, err)
	}
	p, err := e.c.Ping(ctx, client.PingOptions{})
	if err != nil {
		return render.Facts{}, e.told(ctx, err)
	}
	f := render.Facts{ID: i.Info.ID, API: p.APIVersion, CgroupDriver: i.Info.CgroupDriver, CgroupVersion: 1, CPUs: i.Info.NCPU, Memory: uint64(max(0, i.Info.MemTotal))}
	if i.Info.CgroupVersion == "2" {
		f.CgroupVersion = 2
	}
	f.Unprotected = e.unprotected(ctx, i.Info.SecurityOptions)
	return f, nil
}

// Ping asks the Engine whether it is there.
func (e *Engine) Ping(ctx context.Context) error {
	_, err := e.c.Ping(ctx, client.PingOptions{})
	return e.told(ctx, err)
}

// LiveRestores says whether containers go on while the Engine is restarted.
func (e *Engine) LiveRestores(ctx context.Context) (bool, error) {
	i, err := e.c.Info(ctx, client.InfoOptions{})
	return i.Info.LiveRestoreEnabled, e.told(ctx, err)
}

// Create makes a container. One that was made by the same call before is taken.
func (e *Engine) Create(ctx context.Context, c render.Create) (string, error) {
	out, err := e.c.ContainerCreate(ctx, client.ContainerCreateOptions{Name: c.Name, Config: c.Config, HostConfig: c.Host, NetworkingConfig: c.Net})
	if err == nil {
		return out.ID, nil
	}
	if beside := c.Host.NetworkMode.ConnectedContainer(); beside != "" && says(err, "no such container") {
		return "", fault.NotFound("container %s, whose network %s is to share, is not there: make that first", beside, c.Name)
	}
	if !errdefs.IsConflict(err) {
		return "", e.told(ctx, err)
	}
	have, ierr := e.c.ContainerInspect(ctx, c.Name, client.ContainerInspectOptions{})
	if ierr != nil {
		return "", e.told(ctx, err)
	}
	for _, key := range []string{label.Set, label.Role, label.Member, label.Hash, label.Rev} {
		if have.Container.Config.Labels[key] != c.Config.Labels[key] {
			return "", fault.Exists("container %s is there already and is another: remove or rename it (docker rm, docker rename)", c.Name)
		}
	}
	return have.Container.ID, nil
}

// startLimit is how long Start waits for a container that is being restarted.
const startLimit = 30 * time.Second

// Start starts a container that does not run. One that the Engine is about to
// restart, or whose network it is, is waited for.
func (e *Engine) Start(ctx context.Context, id string) error {
	for start := time.Now(); ; {
		_, err := e.c.ContainerStart(ctx, id, client.ContainerStartOptions{})
		in, ierr := e.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		again := err == nil && ierr == nil && in.Container.State.Restarting || err != nil && strings.Contains(err.Error(), "is restarting")
		switch {
		case again && time.Since(start) < startLimit:
		case err == nil || ctx.Err() != nil:
			return e.told(ctx, err)
		case says(err, "non running container"):
			return fault.Conflict("%s: start that first", said(err))
		case ierr == nil && says(err, "no such container"):
			return fault.Conflict("container %s is beside container %.12s, which is gone: it must be made anew", name(in), in.Container.HostConfig.NetworkMode.ConnectedContainer())
		default:
			return e.told(ctx, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop stops a container by a signal, and kills it after grace.
func (e *Engine) Stop(ctx context.Context, id, signal string, grace *spec.Duration) error {
	o := client.ContainerStopOptions{Signal: signal}
	if !e.signals() {
		o.Signal = "" // what the container was made with is what there is
	}
	if grace != nil {
		seconds := int((time.Duration(*grace) + time.Second - 1) / time.Second)
		o.Timeout = &seconds
	}
	_, err := e.c.ContainerStop(ctx, id, o)
	return absentIsWell(e.told(ctx, err))
}

// signals says whether the Engine takes a signal to stop with.
func (e *Engine) signals() bool { return render.Facts{API: e.c.ClientVersion()}.AtLeast("1.42") }

func absentIsWell(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Kill sends a signal. A container that does not run need not be killed, but hears
// no other signal.
func (e *Engine) Kill(ctx context.Context, id, signal string) error {
	_, err := e.c.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal})
	switch {
	case !says(err, "is not running"):
		return e.told(ctx, err)
	case slices.Contains([]string{"", "KILL", "SIGKILL", "9"}, signal):
		return nil
	}
	return fault.Conflict("%s: start it first", said(err))
}

// Remove removes a container and its unnamed volumes, and waits until it is gone.
func (e *Engine) Remove(ctx context.Context, id string, force bool) error {
	for {
		_, err := e.c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: force, RemoveVolumes: true})
		if errdefs.IsNotFound(err) {
			return nil
		}
		switch {
		case err == nil || says(err, "already in progress"):
		case says(err, "stop the container"):
			return fault.Conflict("%s: stop it first", said(err))
		default:
			return e.told(ctx, err)
		}
		if _, err := e.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{}); errdefs.IsNotFound(err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Rename gives a container a name.
func (e *Engine) Rename(ctx context.Context, id, name string) error {
	have, err := e.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err == nil && strings.TrimPrefix(have.Container.Name, "/") == name {
		return nil
	}
	_, err = e.c.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: name})
	if errdefs.IsConflict(err) {
		return fault.Exists("name %s is that of another container: remove or rename that (docker rm, docker rename)", name)
	}
	return e.told(ctx, err)
}

// SetRestart changes the restart policy: "always", "on-failure:3" and so on.
func (e *Engine) SetRestart(ctx context.Context, id, policy string) error {
	p, err := render.Restart(policy)
	if err != nil {
		return err
	}
	_, err = e.c.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{RestartPolicy: &p})
	return e.told(ctx, err)
}

// WaitEnd waits until a container does not run, and returns its exit code.
func (e *Engine) WaitEnd(ctx context.Context, id string) (int, error) {
	w := e.c.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case r := <-w.Result:
		if r.Error != nil {
			return 0, errors.New(r.Error.Message)
		}
		return int(r.StatusCode), nil
	case err := <-w.Error:
		return 0, e.told(ctx, err)
	}
}

// WaitHealthy waits until the Engine's check of a container is well. An unhealthy
// one, or one that ended for good, is an error at once.
func (e *Engine) WaitHealthy(ctx context.Context, id string) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	// Its events only say when to look. Without them, and for one that came before they
	// were listened to, there is the interval.
	told := e.c.Events(watch, client.EventsListOptions{Filters: make(client.Filters).Add("container", id).Add("event", "health_status", "die")})
	for {
		out, err := e.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return e.told(ctx, err)
		}
		s := out.Container.State
		switch {
		case s.Health == nil || s.Health.Status == container.NoHealthcheck:
			return fault.Invalid("it has no health check: give it one (Options.Health)")
		case s.Health.Status == container.Healthy && s.Running:
			return nil
		case s.Health.Status == container.Unhealthy:
			return fault.Conflict("it is unhealthy: %.400s", lastCheck(s.Health))
		case !s.Running && !s.Restarting && s.Status != container.StateCreated:
			return fault.Conflict("it ended with code %d: docker logs says why", s.ExitCode)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-told.Messages:
		case <-told.Err: //nolint:errcheck // without events it is asked now and then
			told.Err = nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func lastCheck(h *container.Health) string {
	if len(h.Log) == 0 {
		return ""
	}
	return strings.TrimSpace(h.Log[len(h.Log)-1].Output)
}

// PID is the first process of a container on the Engine's host, 0 when it does not run.
func (e *Engine) PID(ctx context.Context, id string) (int, error) {
	out, err := e.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil || !out.Container.State.Running {
		return 0, e.told(ctx, err)
	}
	return out.Container.State.Pid, nil
}

// Connect connects a container to a network.
func (e *Engine) Connect(ctx context.Context, n spec.Network, id string) error {
	s, err := render.Endpoint(n)
	if err != nil {
		return err
	}
	_, err = e.c.NetworkConnect(ctx, n.Name, client.NetworkConnectOptions{Container: id, EndpointConfig: s})
	if says(err, "already exists in network") {
		return nil
	}
	return e.told(ctx, err)
}

// Disconnect disconnects a container from a network.
func (e *Engine) Disconnect(ctx context.Context, name, id string) error {
	_, err := e.c.NetworkDisconnect(ctx, name, client.NetworkDisconnectOptions{Container: id})
	if says(err, "is not connected to") {
		return nil
	}
	return absentIsWell(e.told(ctx, err))
}

// MakeVolume makes a volume for a set; one of that name is well where its driver
// says so.
func (e *Engine) MakeVolume(ctx context.Context, name, driver string, options map[string]string, set string) error {
	_, err := e.c.VolumeCreate(ctx, client.VolumeCreateOptions{Name: name, Driver: driver, DriverOpts: options, Labels: map[string]string{label.Set: set}})
	return e.told(ctx, err)
}

// RemoveVolume removes a volume.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	_, err := e.c.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
	if errdefs.IsConflict(err) {
		return fault.Conflict("%s: remove those containers first", said(err))
	}
	return absentIsWell(e.told(ctx, err))
}

// Pull pulls an image; progress is told of the layer that moved last.
func (e *Engine) Pull(ctx context.Context, ref, auth string, progress func(status string, done, total int64)) error {
	out, err := e.c.ImagePull(ctx, ref, client.ImagePullOptions{RegistryAuth: auth})
	if err != nil {
		return e.told(ctx, err)
	}
	defer func() { _ = out.Close() }()
	for m, err := range out.JSONMessages(ctx) {
		switch {
		case err != nil:
			return e.told(ctx, err)
		case m.Error != nil:
			return errors.New(m.Error.Message)
		case m.Progress != nil:
			progress(m.ID+" "+m.Status, m.Progress.Current, m.Progress.Total)
		}
	}
	return nil
}

// Load loads images of a docker save.
func (e *Engine) Load(ctx context.Context, tar io.Reader) error {
	out, err := e.c.ImageLoad(ctx, tar)
	if errdefs.IsPermissionDenied(err) { // by mos-authz, to tenants
		return fmt.Errorf("%w: any docker set up of whoever runs the host loads the image, once", err)
	}
	if err != nil {
		return e.told(ctx, err)
	}
	_, err = io.Copy(io.Discard, out)
	return e.told(ctx, errors.Join(err, out.Close()))
}

// Arch is the architecture of the Engine's host as images name it.
func (e *Engine) Arch(ctx context.Context) (string, error) {
	v, err := e.c.ServerVersion(ctx, client.ServerVersionOptions{})
	return v.Arch, e.told(ctx, err)
}

// Description is what an Engine has.
type Description struct {
	Facts   render.Facts
	Version string
	// Networks are those that sets can name, with their subnets, and commas between them.
	Networks map[string]string
	Volumes  []string // those with a name
}

// Describe asks what the Engine has.
func (e *Engine) Describe(ctx context.Context) (Description, error) {
	var d Description
	var q questions
	q.ask(func() (err error) { d.Facts, err = e.Facts(ctx); return err })
	q.ask(func() error {
		v, err := e.c.ServerVersion(ctx, client.ServerVersionOptions{})
		d.Version = v.Version
		return e.told(ctx, err)
	})
	q.ask(func() error {
		out, err := e.c.NetworkList(ctx, client.NetworkListOptions{})
		d.Networks = map[string]string{}
		for _, n := range out.Items {
			if n.Driver == "host" || n.Driver == "null" || n.Name == "bridge" {
				continue
			}
			var subnets []string
			for _, c := range n.IPAM.Config {
				subnets = append(subnets, c.Subnet.String())
			}
			d.Networks[n.Name] = strings.Join(subnets, ",")
		}
		return e.told(ctx, err)
	})
	q.ask(func() error {
		out, err := e.c.VolumeList(ctx, client.VolumeListOptions{})
		for _, v := range out.Items {
			if !unnamed(v.Name) {
				d.Volumes = append(d.Volumes, v.Name)
			}
		}
		slices.Sort(d.Volumes)
		return e.told(ctx, err)
	})
	return d, q.wait()
}

// Clustered are the sets that clusters have on the Engine, with their label.Cluster.
func (e *Engine) Clustered(ctx context.Context) (map[string]string, error) {
	out, err := e.c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", label.Cluster)})
	if err != nil {
		return nil, e.told(ctx, err)
	}
	marks := map[string]string{}
	for _, c := range out.Items {
		if set := owner(c); set != "" {
			marks[set] = c.Labels[label.Cluster]
		}
	}
	return marks, nil
}

// Sets are the names of the sets that the Engine has containers of.
func (e *Engine) Sets(ctx context.Context) ([]string, error) {
	out, err := e.c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", label.Set)})
	if err != nil {
		return nil, e.told(ctx, err)
	}
	var names []string
	for _, c := range out.Items {
		if set := owner(c); set != "" {
			names = append(names, set)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
