package hostsrv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	volume "github.com/mosdocker/mosdocker/lvmvolume/api"
)

// volumes is a mos-lvm.
type volumes struct {
	pools []volume.Pool
	all   []volume.Volume
	err   error
}

func (v *volumes) Pools(context.Context) ([]volume.Pool, error)     { return v.pools, v.err }
func (v *volumes) Volumes(context.Context) ([]volume.Volume, error) { return v.all, v.err }

// layer makes a layer of the Engine's own store; "" as its size is none yet.
func layer(t *testing.T, root, name, size string) string {
	t.Helper()
	dir := filepath.Join(root, "image/overlay2/layerdb/sha256", name)
	err := os.MkdirAll(dir, 0o755)
	if err == nil && size != "" {
		err = os.WriteFile(filepath.Join(dir, "size"), []byte(size), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestImagesAreCountedByTheirLayers: each once, and those that are gone no more.
func TestImagesAreCountedByTheirLayers(t *testing.T) {
	root := t.TempDir()
	asked := 0
	d := NewDisk(DiskConfig{Root: root, Volumes: &volumes{err: fs.ErrNotExist}, Images: func(context.Context) (api.Images, error) {
		asked++
		return api.Images{Count: 7, Size: 70}, nil
	}})
	is := func(want api.Images) {
		t.Helper()
		r := d.look(t.Context())
		if r.Images == nil || *r.Images != want || len(r.Faults) != 0 {
			t.Errorf("got %+v %v, want %+v", r.Images, r.Faults, want)
		}
	}
	is(api.Images{Count: 7, Size: 70})
	content := filepath.Join(root, "image/overlay2/imagedb/content/sha256")
	if err := os.MkdirAll(content, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"i1", "i2"} {
		if err := os.WriteFile(filepath.Join(content, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := layer(t, root, "base", "1000")
	layer(t, root, "top", "24\n")
	layer(t, root, "made", "")
	is(api.Images{Count: 2, Size: 1024})
	layer(t, root, "made", "6")
	is(api.Images{Count: 2, Size: 1030})
	if err := os.RemoveAll(base); err != nil {
		t.Fatal(err)
	}
	is(api.Images{Count: 2, Size: 30})
	if asked != 1 || len(d.layers) != 2 {
		t.Errorf("the Engine was asked %d times, %v layers are known", asked, d.layers)
	}
	layer(t, root, "odd", "many")
	if r := d.look(t.Context()); r.Images != nil || r.Faults["images"] == "" {
		t.Errorf("a broken size gives %+v", r)
	}
}

// TestADiskReport: what cannot be looked at is named, and the rest is there.
func TestADiskReport(t *testing.T) {
	root := t.TempDir()
	seen := time.Unix(1_700_000_000, 0).UTC()
	v := &volumes{
		pools: []volume.Pool{{Name: "vg0/pool", Types: []string{"thin"}, State: "ok", Size: 100, Used: 40, Data: 0.4, Meta: 0.1, VGFree: 9, Virtual: 200}},
		all: []volume.Volume{
			{Name: "a", Type: "thin", Size: 50, Allocated: 20, Usage: &volume.Usage{Used: 11, Free: 30, Inodes: 9, InodesUsed: 2, At: seen}},
			{Name: "b", Type: "thin", Size: 60},
		},
	}
	var told []api.Disk
	ctx, cancel := context.WithCancel(t.Context())
	d := NewDisk(DiskConfig{
		Root: root, Every: time.Hour, Volumes: v, Told: func(r api.Disk) { told = append(told, r); cancel() },
		Images: func(context.Context) (api.Images, error) { return api.Images{}, errors.New("it hangs") },
	})
	d.Run(ctx)
	r := d.Report()
	if len(told) != 1 || !told[0].At.Equal(r.At) {
		t.Errorf("told %+v, reports %+v", told, r)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		t.Fatal(err)
	}
	if r.Store.Path != root || r.Store.Size != st.Blocks*uint64(st.Frsize) || r.Store.Used == 0 || r.Store.Used > r.Store.Size || r.Store.Available > r.Store.Size {
		t.Errorf("store %+v", r.Store)
	}
	want := api.Disk{
		At: r.At, Store: r.Store, Faults: map[string]string{"images": "it hangs"},
		Pools: []api.Pool{{Name: "vg0/pool", Types: []string{"thin"}, State: "ok", Size: 100, Used: 40, Data: 0.4, Meta: 0.1, Free: 9, Promised: 200}},
		Volumes: []api.DiskVolume{
			{Name: "a", Type: "thin", Size: 50, Allocated: 20, Used: 11, Available: 30, InodesFree: 7, Seen: seen},
			{Name: "b", Type: "thin", Size: 60},
		},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	v.err, d.cfg.Root = fmt.Errorf("it does not answer"), "/no/such/folder"
	if r := d.look(t.Context()); r.Faults["pools"] == "" || r.Faults["store"] == "" || len(r.Pools)+len(r.Volumes) != 0 {
		t.Errorf("faults %v", r.Faults)
	}
}
