package lvmvolume

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/go-units"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/pluginsrv/volapi"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// patience is how long Get and List wait for the first look.
const patience = 10 * time.Second

// Register puts the driver's calls on a plugin server.
func (d *Driver) Register(s *pluginsrv.Server) {
	s.Implements("VolumeDriver")
	pluginsrv.Handle(s, "/VolumeDriver.Capabilities", d.onCapabilities)
	pluginsrv.Handle(s, "/VolumeDriver.Create", d.onCreate)
	pluginsrv.Handle(s, "/VolumeDriver.Remove", d.onRemove)
	pluginsrv.Handle(s, "/VolumeDriver.Mount", d.onMount)
	pluginsrv.Handle(s, "/VolumeDriver.Unmount", d.onUnmount)
	pluginsrv.Handle(s, "/VolumeDriver.Path", d.onPath)
	pluginsrv.Handle(s, "/VolumeDriver.Get", func(ctx context.Context, r getRequest) (volapi.GetResponse, error) {
		return d.onGet(ctx, r.NameRequest)
	})
	pluginsrv.Handle(s, "/VolumeDriver.List", d.onList)
}

func (d *Driver) onCapabilities(context.Context, pluginsrv.None) (volapi.CapabilitiesResponse, error) {
	return volapi.CapabilitiesResponse{Capabilities: volapi.Capability{Scope: "local"}}, nil
}

func (d *Driver) onCreate(ctx context.Context, r volapi.CreateRequest) (pluginsrv.None, error) {
	d.await(ctx)
	d.oddName(ctx, r.Name)
	_, err := d.create(ctx, spec.Request{Name: r.Name, Options: r.Opts}, false)
	return pluginsrv.None{}, err
}

func (d *Driver) onRemove(ctx context.Context, r volapi.NameRequest) (pluginsrv.None, error) {
	d.await(ctx)
	return pluginsrv.None{}, d.trash(ctx, r.Name)
}

func (d *Driver) onMount(ctx context.Context, r volapi.MountRequest) (volapi.MountResponse, error) {
	d.await(ctx)
	dir, err := d.mount(ctx, r.Name, r.ID)
	return volapi.MountResponse{Mountpoint: dir}, err
}

func (d *Driver) onUnmount(ctx context.Context, r volapi.MountRequest) (pluginsrv.None, error) {
	d.await(ctx)
	return pluginsrv.None{}, d.unmount(r.Name, r.ID)
}

func (d *Driver) onPath(ctx context.Context, r volapi.NameRequest) (volapi.MountResponse, error) {
	e, err := d.certain(ctx, r.Name)
	return volapi.MountResponse{Mountpoint: d.mountpoint(e.v)}, err
}

// getRequest is a NameRequest whose answered errors Docker takes for "absent".
type getRequest struct{ volapi.NameRequest }

// AskedForAFact implements [pluginsrv.Fact].
func (getRequest) AskedForAFact() {}

// onGet answers from memory. An error that is answered means "absent" to Docker,
// which then forgets what it knows of the volume.
func (d *Driver) onGet(ctx context.Context, r volapi.NameRequest) (volapi.GetResponse, error) {
	e, err := d.certain(ctx, r.Name)
	if err != nil {
		return volapi.GetResponse{}, err
	}
	return volapi.GetResponse{Volume: d.toDocker(e, true)}, nil
}

// certain returns a volume, NotFound when it is surely absent, and hangs up when
// that is not sure.
func (d *Driver) certain(ctx context.Context, name string) (entry, error) {
	d.await(ctx)
	e, ok := d.idx.named(name)
	if ok {
		return e, nil
	}
	if err := d.idx.whole(); err != nil {
		return e, fmt.Errorf("whether there is a volume %.80s is not known: %w: %w", name, err, pluginsrv.ErrHangUp)
	}
	return e, fault.NotFound("there is no volume %.80s", name)
}

// await waits a while for the first look.
func (d *Driver) await(ctx context.Context) {
	select {
	case <-d.idx.loaded:
		return
	default:
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-d.idx.loaded:
	case <-t.C:
	case <-ctx.Done():
	}
}

func (d *Driver) onList(ctx context.Context, _ pluginsrv.None) (volapi.ListResponse, error) {
	d.await(ctx)
	out := volapi.ListResponse{Volumes: []volapi.Volume{}}
	for _, e := range d.idx.all(inService) {
		if e.v.State != spec.Filling {
			out.Volumes = append(out.Volumes, *d.toDocker(e, false))
		}
	}
	return out, nil
}

// toDocker is a volume as Docker shows it.
func (d *Driver) toDocker(e entry, status bool) *volapi.Volume {
	v := &volapi.Volume{Name: e.v.Name, CreatedAt: e.v.Created.UTC().Format(time.RFC3339)}
	if status {
		v.Mountpoint = d.mountpoint(e.v)
		v.Status = d.status(e)
	}
	return v
}

// mountpoint is where containers' directory is, "" while the volume is not mounted.
func (d *Driver) mountpoint(v spec.Volume) string {
	if v.ID == "" || !isMountPoint(d.dirOf(v)) {
		return ""
	}
	return d.dataOf(v)
}

// status is what `docker volume inspect` shows.
func (d *Driver) status(e entry) map[string]any {
	users := []string{}
	for _, u := range e.users {
		users = append(users, shortUser(u))
	}
	s := map[string]any{
		"type": string(e.v.Type), "fs": string(e.v.FS), "state": string(e.state()),
		"size": spec.Bytes(e.v.Size).String(), "bytes": e.v.Size, "id": string(e.v.ID), "users": users,
	}
	if e.v.Type == spec.Loop {
		s["image"] = d.loops.image(e.v)
	} else {
		s["vg"], s["lv"] = e.v.Place, e.v.ID.Label()
	}
	if e.fault != nil {
		s["fault"] = e.fault.Error()
	}
	if u := d.usage(e); u != nil {
		s["used"], s["free"] = spec.Bytes(u.Used).String(), spec.Bytes(u.Free).String()
		s["inodes"] = fmt.Sprintf("%d of %d", u.InodesUsed, u.Inodes)
	}
	if e.v.IOPS > 0 {
		s["iops"] = e.v.IOPS
	}
	if e.v.BPS > 0 {
		s["bps"] = units.BytesSize(float64(e.v.BPS)) + "/s"
	}
	return s
}
