package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/api"
)

// fate is what the journal says of a volume.
type fate struct {
	data         string
	blocks, size uint64
	// may and must say where it can and has to be.
	mayServe, mayBin, mayGone bool
	snaps                     map[string]uint64
}

func (f *fate) only(serve, bin, gone bool) { f.mayServe, f.mayBin, f.mayGone = serve, bin, gone }

// read follows a journal. Lines "broken" are findings by themselves.
func read(path string) (fates map[string]*fate, findings []string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	fates = map[string]*fate{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		w := strings.Fields(lines.Text())
		if len(w) >= 2 && w[0] == "broken" {
			findings = append(findings, lines.Text())
		}
		if len(w) < 3 || (w[0] != "begin" && w[0] != "done") {
			continue
		}
		f := fates[w[2]]
		if f == nil {
			f = &fate{data: w[2], mayGone: true, snaps: map[string]uint64{}}
			fates[w[2]] = f
		}
		f.follow(w[0] == "done", w[1], w[3:])
		// The recycle bin makes room by itself where a promise is an allocation.
		f.mayGone = f.mayGone || f.mayBin && !strings.Contains(w[2], "thin")
	}
	return fates, findings, lines.Err()
}

func (f *fate) follow(done bool, op string, args []string) {
	num := func(i int) uint64 {
		if i >= len(args) {
			return 0
		}
		n, _ := strconv.ParseUint(args[i], 10, 64) // 0 demands nothing
		return n
	}
	switch op {
	case "create", "clone":
		if op == "clone" && len(args) > 1 {
			f.data = args[1]
		}
		f.mayServe = true
		if done {
			f.only(true, false, false)
			f.size, f.blocks = num(0), num(2)
		}
	case "sync":
		f.blocks = max(f.blocks, num(0))
	case "resize":
		if done {
			f.size = num(0)
		}
	case "remove":
		f.only(!done, true, false)
	case "restore":
		f.only(true, !done, false)
	case "purge":
		f.only(false, !done, true)
	case "snapshot":
		if done && len(args) > 0 {
			f.snaps[args[0]] = num(1)
		}
	}
}

// judge compares what there is with a journal, and clears it all away.
func judge(ctx context.Context, o options, _ []string) error {
	fates, findings, err := read(o.journal)
	if err != nil {
		return err
	}
	j := &court{plugin: newPlugin(), admin: admin(), findings: findings}
	if err := j.settle(ctx, o.prefix); err != nil {
		return err
	}
	for name, f := range fates {
		j.one(ctx, name, f)
	}
	for name := range j.serving {
		if strings.HasPrefix(name, o.prefix) && fates[name] == nil {
			j.find("volume %s was never asked for", name)
		}
	}
	j.clear(ctx, o.prefix)
	for _, f := range j.findings {
		fmt.Println("finding:", f)
	}
	fmt.Printf("judged %d volumes: %d in service, %d in the bin, %d blocks read, %d findings\n", len(fates), j.served, j.binned, j.blocks, len(j.findings))
	if len(j.findings) > 0 {
		return fmt.Errorf("%d findings", len(j.findings))
	}
	return nil
}

type court struct {
	plugin         *plugin
	admin          *api.Client
	serving, bin   map[string]api.Volume
	findings       []string
	served, binned int
	blocks         uint64
}

func (j *court) find(format string, args ...any) {
	j.findings = append(j.findings, fmt.Sprintf(format, args...))
}

// settle waits for the daemon to have finished what was half done.
func (j *court) settle(ctx context.Context, prefix string) error {
	var err error
	for range 120 {
		if err = j.look(ctx, prefix); err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	return fmt.Errorf("the daemon does not get well: %w", err)
}

func (j *court) look(ctx context.Context, prefix string) error {
	vs, err := j.admin.Volumes(ctx)
	if err != nil {
		return err
	}
	bin, err := j.admin.Trash(ctx)
	if err != nil {
		return err
	}
	j.serving, j.bin = map[string]api.Volume{}, map[string]api.Volume{}
	for _, v := range vs {
		if strings.HasPrefix(v.Name, prefix) && v.State != api.StateReady {
			return fmt.Errorf("volume %s is %s", v.Name, v.State)
		}
		if _, twice := j.serving[v.Name]; twice || v.Fault != "" {
			return fmt.Errorf("volume %s: twice is %v, fault %q", v.Name, twice, v.Fault)
		}
		j.serving[v.Name] = v
	}
	for _, v := range bin {
		j.bin[v.Name] = v
	}
	a, err := j.admin.Audit(ctx)
	if err != nil {
		return err
	}
	if len(a.Findings) > 0 {
		return fmt.Errorf("audit: %+v", a.Findings)
	}
	return nil
}

func (j *court) one(ctx context.Context, name string, f *fate) {
	v, serves := j.serving[name]
	b, binned := j.bin[name]
	switch {
	case serves && !f.mayServe, binned && !f.mayBin, !serves && !binned && !f.mayGone:
		j.find("volume %s: in service %v (may %v), in the bin %v (may %v), gone may be %v", name, serves, f.mayServe, binned, f.mayBin, f.mayGone)
		return
	case binned:
		j.binned++
		if _, err := j.admin.Restore(ctx, api.RestoreRequest{Volume: b.ID, As: name + "-back"}); err != nil {
			j.find("volume %s cannot be restored: %v", name, err)
			return
		}
		j.contents(ctx, name+"-back", f.data, f.blocks)
	case serves:
		j.served++
		if v.Size < f.size*mib {
			j.find("volume %s has %d bytes, after a growth to %d MiB was answered", name, v.Size, f.size)
		}
		j.contents(ctx, name, f.data, f.blocks)
		j.snapshots(ctx, v, f)
	}
}

func (j *court) snapshots(ctx context.Context, v api.Volume, f *fate) {
	for snap, blocks := range f.snaps {
		if !slices.ContainsFunc(v.Snapshots, func(s api.Snapshot) bool { return s.Name == snap }) {
			j.find("snapshot %s@%s is gone", v.Name, snap)
			continue
		}
		clone := v.Name + "-of-" + snap
		if _, err := j.plugin.call(ctx, "Create", map[string]any{"Name": clone, "Opts": map[string]string{"from": v.Name + "@" + snap}}); err != nil {
			j.find("snapshot %s@%s cannot be copied: %v", v.Name, snap, err)
			continue
		}
		j.contents(ctx, clone, f.data, blocks)
	}
}

// contents mounts a volume and reads its blocks.
func (j *court) contents(ctx context.Context, name, data string, want uint64) {
	id := map[string]string{"Name": name, "ID": "judge"}
	a, err := j.plugin.call(ctx, "Mount", id)
	if err != nil {
		j.find("volume %s cannot be mounted: %v", name, err)
		return
	}
	defer func() { _, _ = j.plugin.call(ctx, "Unmount", id) }() // the sweep takes it
	f, err := os.Open(filepath.Join(a.Mountpoint, "file"))
	if errors.Is(err, os.ErrNotExist) && want == 0 {
		return
	}
	if err != nil {
		j.find("volume %s: %v", name, err)
		return
	}
	defer f.Close()
	n, err := whole(f, seedOf(data), want)
	j.blocks += n
	if err != nil || n < want {
		j.find("volume %s: %d of %d synced blocks are whole: %v", name, n, want, err)
	}
}

// clear removes all volumes for good.
func (j *court) clear(ctx context.Context, prefix string) {
	vs, err := j.admin.Volumes(ctx)
	if err != nil {
		j.find("%v", err)
	}
	for _, v := range vs {
		if strings.HasPrefix(v.Name, prefix) {
			if _, err := j.plugin.call(ctx, "Remove", map[string]string{"Name": v.Name}); err != nil {
				j.find("volume %s cannot be removed: %v", v.Name, err)
			}
		}
	}
	if _, err := j.admin.Purge(ctx, api.PurgeRequest{All: true}, nil); err != nil {
		j.find("recycle bin cannot be purged: %v", err)
	}
}
