package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
)

// audit is the leak check: it looks anew, and compares what the host has with
// the volumes that there are.
func (d *Driver) audit(ctx context.Context) api.Audit {
	out := api.Audit{Findings: []api.Finding{}}
	add := func(kind, object, detail, hint string) {
		out.Findings = append(out.Findings, api.Finding{Kind: kind, Object: object, Detail: detail, Hint: hint})
	}
	if err := d.look(ctx); err != nil {
		add("host", "volumes", err.Error(), "docker mos volume doctor")
	}
	d.idx.mu.RLock()
	strays := slices.Clone(d.idx.strays)
	d.idx.mu.RUnlock()
	for _, s := range strays {
		hint := "it is left alone: look at it and remove it by hand"
		if s.id != "" {
			hint = "it may be all that tells of a volume's data: mend it from a backup; while it is there, no volume is called absent"
		}
		add("stray", s.object, s.detail, hint)
	}
	for _, e := range d.idx.all(anything) {
		switch {
		case e.fault != nil:
			add("volume", e.v.Title(), e.fault.Error(), "")
		case toWipe(e.v):
			if !e.stuck.IsZero() {
				add("volume", e.v.Title(), "it was removed, and its blocks cannot be overwritten yet", "the log of mos-lvm says why")
			}
		case e.unfinished():
			add("volume", e.v.Title(), "its making was cut off", "the next look finishes it or takes it back; at once by docker mos volume gc")
		case isSnapshot(e.v):
			if _, ok := d.idx.entry(e.v.Of); !ok {
				add("snapshot", e.v.Title(), "its volume is gone", "docker mos volume snapshot rm "+e.v.Title())
			}
		}
	}
	for _, e := range d.idx.doomedOnes() {
		add("volume", e.v.Title(), "its making failed and "+e.v.ID.Label()+" could not be removed yet", gcHint+" tries again")
	}
	out.Findings = append(out.Findings, d.leftovers(ctx)...)
	return out
}

// leftovers are mounts, mount points and loop devices that belong to no volume.
func (d *Driver) leftovers(ctx context.Context) []api.Finding {
	var out []api.Finding
	known := d.inService
	ms, err := mounts.Own()
	if err != nil {
		out = append(out, api.Finding{Kind: "host", Object: "mounts", Detail: err.Error()})
	}
	for _, m := range ms {
		if filepath.Dir(m.Point) == d.cfg.mountDir() && !known(filepath.Base(m.Point)) {
			out = append(out, api.Finding{Kind: "mount", Object: m.Point, Detail: "of no volume in service: " + m.Source, Hint: gcHint})
		}
	}
	entries, _ := os.ReadDir(d.cfg.mountDir()) // absent is empty
	for _, e := range entries {
		if path := filepath.Join(d.cfg.mountDir(), e.Name()); !known(e.Name()) && !isMountPoint(path) {
			out = append(out, api.Finding{Kind: "mount point", Object: path, Detail: "of no volume in service", Hint: gcHint})
		}
	}
	devs, err := d.disk.images(d.loops.dir)
	if err != nil {
		out = append(out, api.Finding{Kind: "host", Object: "loop devices", Detail: err.Error()})
	}
	snap, err := mounts.Take(ctx)
	alone := err == nil && !snap.Blind()
	for _, dev := range devs {
		if !d.ours(dev, alone) {
			continue
		}
		if id, ok := idOf(filepath.Base(dev.Backing), imageExt); !ok || dev.Deleted || !known(string(id)) {
			out = append(out, api.Finding{Kind: "loop device", Object: dev.Device, Detail: "of " + dev.Backing + ", no volume in service", Hint: gcHint})
		}
	}
	return out
}

// adminGC mends at once what the loops would mend in their time, and tells what is
// gone by that.
func (d *Driver) adminGC(ctx context.Context, _ pathOf, r api.GCRequest) (api.GC, error) {
	before := collectable(d.audit(ctx))
	if r.DryRun {
		return api.GC{Objects: before}, nil
	}
	err := d.reconcile(ctx)
	d.sweep(ctx)
	for _, f := range d.leftovers(ctx) {
		d.clear(ctx, f)
	}
	after := collectable(d.audit(ctx))
	out := api.GC{Objects: slices.DeleteFunc(before, func(f api.Finding) bool {
		return slices.ContainsFunc(after, func(now api.Finding) bool { return now.Kind == f.Kind && now.Object == f.Object })
	})}
	if len(after) > 0 {
		err = errors.Join(err, fault.Conflict("%s cleared away; %s stay, and the log of mos-lvm says why", objects(out.Objects), objects(after)))
	}
	return out, err
}

const gcHint = "docker mos volume gc"

// collectable are the findings that gc is to clear away.
func collectable(a api.Audit) []api.Finding {
	return slices.DeleteFunc(a.Findings, func(f api.Finding) bool { return !strings.HasPrefix(f.Hint, gcHint) })
}

func objects(fs []api.Finding) string {
	var words []string
	for _, f := range fs {
		words = append(words, f.Kind+" "+f.Object)
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// clear takes one leftover away, if nobody has it.
func (d *Driver) clear(ctx context.Context, f api.Finding) {
	var err error
	switch f.Kind {
	case "mount":
		err = d.clearMount(ctx, f.Object)
	case "mount point":
		err = ignoreAbsent(os.Remove(f.Object))
	case "loop device":
		err = loop.Detach(ctx, f.Object)
	}
	if err != nil {
		d.log.WarnContext(ctx, "leftover stays", "kind", f.Kind, "object", f.Object, "err", err)
	}
}

func (d *Driver) clearMount(ctx context.Context, dir string) error {
	m, ok, err := mounts.At(dir)
	if err != nil || !ok {
		return err
	}
	hs, err := mounts.Holders(ctx, m.Dev, dir)
	if err != nil {
		return err
	}
	if len(hs) > 0 {
		return fault.Conflict("it is in use by %s", hs[0])
	}
	if err := filesystem.Unmount(dir); err != nil {
		return err
	}
	return ignoreAbsent(os.Remove(dir))
}

// doctor asks the questions that explain most troubles.
func (d *Driver) doctor(ctx context.Context) api.Doctor {
	var out api.Doctor
	add := func(name string, err error, detail, hint string) {
		c := api.Check{Name: name, OK: err == nil, Detail: detail}
		if err != nil {
			c.Detail, c.Hint = err.Error(), hint
		}
		out.Checks = append(out.Checks, c)
	}
	add("all volumes are known", d.idx.whole(), fmt.Sprintf("%d in service", len(d.idx.all(inService))), "while one place cannot be read, unknown volumes are not called absent; see the daemon's log")
	groups, err := d.groups.expected.names()
	add("volume groups", err, orNone(groups), "mos-lvm init makes one")
	if len(groups) > 0 {
		v, err := d.tool(ctx, "lvm", "version")
		add("lvm is installed", err, v, "apt-get install lvm2 thin-provisioning-tools")
	}
	for _, fs := range []struct{ program, pkg string }{{"mkfs.ext4", "e2fsprogs"}, {"mkfs.xfs", "xfsprogs"}} {
		v, err := d.tool(ctx, fs.program, "-V")
		add(fs.program+" is installed", err, v, "apt-get install "+fs.pkg)
	}
	add("ext4 volumes grow while mounted", filesystem.CanGrowOnline(filesystem.Ext4), "yes", "they grow at their next mount")
	snap, err := mounts.Take(ctx)
	if err == nil && d.blind(ctx, snap) {
		err = fault.Conflict("this daemon does not see all processes of the host")
	}
	add("the users of volumes are seen", err, "yes", "run it in the host's pid namespace: else idle volumes stay mounted")
	ev, err := d.engine.Version(ctx)
	add("docker answers", err, "version "+ev.Engine, "start docker; the driver works without it, but cannot pause containers or learn their names")
	add("docker gives containers our volumes", d.hidden(ctx), "yes", "docker volume rm NAME removes the other one: look first who needs it")
	_, err = os.Stat(d.cfg.Socket)
	add("plugin socket is there", err, d.cfg.Socket, "restart mos-lvm")
	for _, p := range d.pools() {
		var err error
		if p.State != api.PoolOK || p.Error != "" {
			err = fault.Conflict("%s: %s", p.State, p.Error)
		}
		add("pool "+p.Name, err, fmt.Sprintf("%.0f%% full", 100*p.Data), "docker mos volume pool")
	}
	return out
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none: volumes are loop images"
	}
	return strings.Join(words, ", ")
}

// tool runs a program that only tells its version.
func (d *Driver) tool(ctx context.Context, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := d.fs.Runner.Run(ctx, xexec.Cmd{Argv: argv})
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return strings.Join(strings.Fields(line), " "), err
}
