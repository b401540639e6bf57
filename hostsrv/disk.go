package hostsrv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	volume "github.com/mosdocker/mosdocker/lvmvolume/api"
)

// DiskConfig says what a Disk looks at.
type DiskConfig struct {
	Root  string        // the Engine's folder
	Every time.Duration // between two looks
	// Images asks the Engine for its images and what they take. It is not called where
	// that is in files.
	Images func(context.Context) (api.Images, error)
	// Volumes is mos-lvm.
	Volumes interface {
		Pools(ctx context.Context) ([]volume.Pool, error)
		Volumes(ctx context.Context) ([]volume.Volume, error)
	}
	// Told, unless nil, gets each report.
	Told func(api.Disk)
}

// Disk looks now and then what takes the space of the host. Nothing is walked: file
// systems are asked as a whole, layers of images have their sizes in small files, and
// mos-lvm knows its pools.
type Disk struct {
	cfg    DiskConfig
	layers map[string]uint64 // sizes by the layers' folders, which never change

	mu   sync.Mutex // guards all below
	last api.Disk
}

// NewDisk makes one; Run runs it.
func NewDisk(cfg DiskConfig) *Disk { return &Disk{cfg: cfg, layers: map[string]uint64{}} }

// askLimit is how long mos-lvm or the Engine may take to answer.
const askLimit = 5 * time.Second

// Run looks until ctx ends.
func (d *Disk) Run(ctx context.Context) {
	tick := time.NewTicker(d.cfg.Every)
	defer tick.Stop()
	for {
		r := d.look(ctx)
		if ctx.Err() != nil {
			return
		}
		d.mu.Lock()
		d.last = r
		d.mu.Unlock()
		if d.cfg.Told != nil {
			d.cfg.Told(r)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Report is what the last look saw.
func (d *Disk) Report() api.Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// Register adds what package api asks for to a server.
func (d *Disk) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/disk", func(w http.ResponseWriter, _ *http.Request) { reply(w, d.Report()) })
}

func (d *Disk) look(ctx context.Context) api.Disk {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	r := api.Disk{At: time.Now().UTC(), Faults: map[string]string{}, Pools: []api.Pool{}, Volumes: []api.DiskVolume{}}
	fault := func(what string, err error) bool {
		if err != nil {
			r.Faults[what] = err.Error()
		}
		return err == nil
	}
	var err error
	r.Store, err = fileSystem(d.cfg.Root)
	fault("store", err)
	if images, err := d.images(ctx); fault("images", err) {
		r.Images = &images
	}
	pools, err := d.cfg.Volumes.Pools(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return r // there is no mos-lvm here
	}
	if !fault("pools", err) {
		return r
	}
	for _, p := range pools {
		r.Pools = append(r.Pools, api.Pool{
			Name: p.Name, Types: p.Types, State: p.State, Error: p.Error, Size: p.Size, Used: p.Used,
			Data: p.Data, Meta: p.Meta, Free: p.VGFree, Promised: p.Virtual,
		})
	}
	volumes, err := d.cfg.Volumes.Volumes(ctx)
	fault("volumes", err)
	for _, v := range volumes {
		x := api.DiskVolume{Name: v.Name, Type: v.Type, Size: v.Size, Allocated: v.Allocated}
		if v.Usage != nil {
			x.Used, x.Available, x.InodesFree, x.Seen = v.Usage.Used, v.Usage.Free, v.Usage.Inodes-v.Usage.InodesUsed, v.Usage.At
		}
		r.Volumes = append(r.Volumes, x)
	}
	return r
}

// fileSystem asks for the space of the file system that holds a path.
func fileSystem(path string) (out api.FileSystem, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return out, fmt.Errorf("statfs %s: %w", path, err)
	}
	block := uint64(st.Frsize)
	return api.FileSystem{
		Path: path, Size: st.Blocks * block, Used: (st.Blocks - st.Bfree) * block, Available: st.Bavail * block,
		Inodes: st.Files, InodesFree: st.Ffree,
	}, nil
}

// images counts those of the Engine's own store from its files, which is exact also while
// the Engine hangs. The store of containerd has no such files: the Engine is asked.
func (d *Disk) images(ctx context.Context) (out api.Images, err error) {
	drivers, _ := filepath.Glob(filepath.Join(d.cfg.Root, "image/*/layerdb/sha256")) // the pattern is right
	for _, dir := range drivers {
		n, size, err := d.sum(dir)
		if err != nil {
			return out, err
		}
		configs, err := os.ReadDir(filepath.Join(dir, "../../imagedb/content/sha256"))
		if err != nil {
			return out, err
		}
		if n > 0 {
			out.Count, out.Size = out.Count+len(configs), out.Size+size
		}
	}
	if out.Count > 0 {
		return out, nil
	}
	return d.cfg.Images(ctx)
}

// sum adds the sizes of all layers.
func (d *Disk) sum(dir string) (n int, size uint64, err error) {
	layers, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, err
	}
	seen := map[string]uint64{}
	for _, l := range layers {
		path := filepath.Join(dir, l.Name())
		s, known := d.layers[path]
		if !known {
			b, err := os.ReadFile(filepath.Join(path, "size"))
			if errors.Is(err, fs.ErrNotExist) {
				continue // it is being made or removed
			}
			if err != nil {
				return 0, 0, err
			}
			if s, err = strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64); err != nil {
				return 0, 0, fmt.Errorf("size of layer %s: %w", path, err)
			}
		}
		seen[path] = s
		n, size = n+1, size+s
	}
	for path := range d.layers { // those that are gone
		if _, there := seen[path]; !there && filepath.Dir(path) == dir {
			delete(d.layers, path)
		}
	}
	maps.Copy(d.layers, seen)
	return n, size, nil
}
