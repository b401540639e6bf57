package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dirs is where an Engine keeps things.
type Dirs struct {
	Root string // data root, /var/lib/docker
	Exec string // exec root, /run/docker
}

// FindDirs fills in what is empty from the text of the Engine's daemon.json, which
// may be nil, else with the Engine's defaults.
func (d Dirs) FindDirs(daemonJSON []byte) Dirs {
	var c struct {
		Data  string `json:"data-root"`
		Graph string `json:"graph"` // what it was called up to 17.05
		Exec  string `json:"exec-root"`
	}
	_ = json.Unmarshal(daemonJSON, &c) // an Engine with a broken file does not start, or has other options
	first := func(values ...string) string {
		return values[slices.IndexFunc(values, func(v string) bool { return v != "" })]
	}
	return Dirs{Root: first(d.Root, c.Data, c.Graph, "/var/lib/docker"), Exec: first(d.Exec, c.Exec, "/run/docker")}
}

// Container is what is known of one.
type Container struct {
	Name    string // without the slash
	Image   string // as the user named it
	Labels  map[string]string
	Started time.Time // zero if it is not known yet
	Running bool      // the runtime has started it
	// SharesNet says that its network namespace is that of another container or
	// of the host.
	SharesNet bool
	Volumes   []Volume // in the order of their names
}

// Volume is a named or unnamed volume, not a folder of the host.
type Volume struct {
	Name   string
	Source string // path on the host, "" while a plugin has not mounted it
	Driver string
}

// Stamp changes when a container's files do.
type Stamp struct {
	Time time.Time
	Size int64
}

// Stamp looks at a container's file without reading it. The zero stamp is of a
// file that is not there.
func (d Dirs) Stamp(id string) Stamp {
	st, err := os.Stat(d.file(id, "config.v2.json"))
	if err != nil {
		return Stamp{}
	}
	return Stamp{st.ModTime(), st.Size()}
}

func (d Dirs) file(id, name string) string { return filepath.Join(d.Root, "containers", id, name) }

// Read reads a container's files.
func (d Dirs) Read(id string) (Container, error) {
	var c struct {
		Name   string
		Config struct {
			Image  string
			Labels map[string]string
		}
		State struct {
			Running   bool
			StartedAt time.Time
		}
		MountPoints map[string]struct {
			Name, Source, Driver string
			Type                 string
		}
	}
	var host struct{ NetworkMode string }
	if err := errors.Join(decode(d.file(id, "config.v2.json"), &c), decode(d.file(id, "hostconfig.json"), &host)); err != nil {
		return Container{}, fmt.Errorf("container %.12s: %w", id, err)
	}
	out := Container{
		Name: strings.TrimPrefix(c.Name, "/"), Image: c.Config.Image, Labels: c.Config.Labels, Running: c.State.Running,
		SharesNet: host.NetworkMode == "host" || strings.HasPrefix(host.NetworkMode, "container:"),
	}
	if c.State.StartedAt.Year() > 1 {
		out.Started = c.State.StartedAt
	}
	for _, m := range c.MountPoints {
		if m.Type == "volume" {
			out.Volumes = append(out.Volumes, Volume{m.Name, m.Source, m.Driver})
		}
	}
	slices.SortFunc(out.Volumes, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func decode(name string, v any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Pid is the process id of a container's first process, by the state of the
// runtime. Where that is of a kind which is not known, it is the first of procs,
// the text of the cgroup's list of processes. 0 is none.
func (d Dirs) Pid(id, procs string) int {
	for _, p := range []func(string) int{d.runcPid, d.shimPid} {
		if pid := p(id); pid > 0 && belongs(pid, id) {
			return pid
		}
	}
	first, _, _ := strings.Cut(procs, "\n")
	pid, _ := strconv.Atoi(first)
	return pid
}

func (d Dirs) runcPid(id string) int {
	files, _ := filepath.Glob(filepath.Join(d.Exec, "runtime-*", "moby", id, "state.json")) // the pattern is right
	for _, f := range files {
		var state struct {
			Pid int `json:"init_process_pid"`
		}
		if decode(f, &state) == nil && state.Pid > 0 {
			return state.Pid
		}
	}
	return 0
}

func (d Dirs) shimPid(id string) int {
	b, _ := d.shimFile(id, "init.pid") // without it there is none
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// shimFile reads a file of a container's shim, of the Engine's own containerd or the host's.
func (d Dirs) shimFile(id, name string) (b []byte, err error) {
	for _, root := range []string{filepath.Join(d.Exec, "containerd/daemon"), "/run/containerd"} {
		if b, err = fs.ReadFile(os.DirFS(root), filepath.Join("io.containerd.runtime.v2.task/moby", id, name)); err == nil {
			return b, nil
		}
	}
	return nil, err
}

// Shim is the path of the unix socket on which a container's shim serves ttrpc. One that
// is not there, or of another kind, is an [fs.ErrNotExist].
func (d Dirs) Shim(id string) (socket string, err error) {
	var boot struct {
		Address  string `json:"address"`
		Protocol string `json:"protocol"`
	}
	b, err := d.shimFile(id, "bootstrap.json") // containerd 2
	if err == nil {
		err = json.Unmarshal(b, &boot)
	} else if b, err = d.shimFile(id, "address"); err == nil {
		boot.Address = strings.TrimSpace(string(b))
	}
	socket, ok := strings.CutPrefix(boot.Address, "unix://")
	if err == nil && (!ok || boot.Protocol != "" && boot.Protocol != "ttrpc") {
		err = fmt.Errorf("shim of container %.12s at %q: %w", id, boot.Address, fs.ErrNotExist)
	}
	return socket, err
}

// belongs guards against state that outlived its process, whose id another has now.
func belongs(pid int, id string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	return err == nil && strings.Contains(string(b), id)
}
