package enginetest

import (
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Fake is an Engine that holds what a test puts in. Its networks show the
// endpoints of the running containers, as in a real one; the addresses a stopped
// container got are forgotten, those it asked for are not.
type Fake struct {
	// Host is the address to open, unix://….
	Host string

	server *httptest.Server

	mu         sync.Mutex // guards all below
	engine     string
	api        string
	broken     string
	networks   []Network
	containers []Container
	volumes    map[string]string // drivers, by name
}

// Network is a network as a test sees it.
type Network struct {
	ID, Name, Driver, IPAMDriver, Subnet string
	Options                              map[string]string
	Internal                             bool
}

// Container is a container as a test sees it.
type Container struct {
	ID, Name string
	State    string // created, running, exited, …
	Ports    []Port
	Volumes  []Volume
}

// Volume is a container's mount of a volume.
type Volume struct {
	Name, Driver string
	ReadOnly     bool
}

// Port is a container's endpoint in a network. Addresses are in CIDR form.
type Port struct {
	Network, Endpoint, IPv4, IPv6, MAC string
	WantIPv4, WantIPv6                 string // without prefix length
}

// Start runs a Fake that speaks as Engine 20.10 (API 1.41) until the test ends.
func Start(tb testing.TB) *Fake {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "docker.sock")
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	f := &Fake{Host: "unix://" + path, engine: "20.10.24", api: "1.41"}
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	_ = f.server.Listener.Close()
	f.server.Listener = l
	f.server.Start()
	tb.Cleanup(f.Stop)
	return f
}

// Stop closes the socket; questions fail from then on. Stopping twice is well.
func (f *Fake) Stop() { f.server.Close() }

// SetVersion makes it another Engine, such as ("29.0.0", "1.52").
func (f *Fake) SetVersion(engine, api string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.engine, f.api = engine, api
}

// Break makes every question but the version fail with this text; an empty one
// heals it.
func (f *Fake) Break(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = text
}

// PutNetwork adds a network, or replaces the one of the same ID.
func (f *Fake) PutNetwork(n Network) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.networks = append(slices.DeleteFunc(f.networks, func(o Network) bool { return o.ID == n.ID }), n)
}

// RemoveNetwork removes the network of this ID.
func (f *Fake) RemoveNetwork(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.networks = slices.DeleteFunc(f.networks, func(o Network) bool { return o.ID == id })
}

// PutContainer adds a container, or replaces the one of the same ID.
func (f *Fake) PutContainer(c Container) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.containers = append(slices.DeleteFunc(f.containers, func(o Container) bool { return o.ID == c.ID }), c)
}

// PutVolume adds a volume, or replaces the one of the same name.
func (f *Fake) PutVolume(name, driver string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.volumes == nil {
		f.volumes = map[string]string{}
	}
	f.volumes[name] = driver
}

// State returns the state of the container of this ID, "" without one.
func (f *Fake) State(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.containers {
		if c.ID == id {
			return c.State
		}
	}
	return ""
}

// RemoveContainer removes the container of this ID.
func (f *Fake) RemoveContainer(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.containers = slices.DeleteFunc(f.containers, func(o Container) bool { return o.ID == id })
}

func (f *Fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Api-Version", f.api)
	path := r.URL.Path
	if strings.HasPrefix(path, "/v") && path != "/version" {
		version, rest, _ := strings.Cut(path[2:], "/")
		if version != f.api {
			answer(w, http.StatusBadRequest, message("client version "+version+" is too new. Maximum supported API version is "+f.api))
			return
		}
		path = "/" + rest
	}
	f.ask(w, r, path)
}

// ask answers one question, whose path has no version.
func (f *Fake) ask(w http.ResponseWriter, r *http.Request, path string) {
	switch {
	case path == "/_ping":
		_, _ = w.Write([]byte("OK"))
	case path == "/version":
		answer(w, http.StatusOK, map[string]any{"Version": f.engine, "ApiVersion": f.api, "MinAPIVersion": "1.12"})
	case f.broken != "":
		answer(w, http.StatusInternalServerError, message(f.broken))
	case path == "/networks":
		list := []any{}
		for _, n := range f.networks {
			list = append(list, f.network(n, false))
		}
		answer(w, http.StatusOK, list)
	case strings.HasPrefix(path, "/networks/"):
		id := strings.TrimPrefix(path, "/networks/")
		i := slices.IndexFunc(f.networks, func(n Network) bool { return n.ID == id })
		if i < 0 {
			answer(w, http.StatusNotFound, message("network "+id+" not found"))
			return
		}
		answer(w, http.StatusOK, f.network(f.networks[i], true))
	case path == "/containers/json":
		answer(w, http.StatusOK, f.list(r.URL.Query().Get("all") == "1"))
	case path == "/volumes":
		list := []any{}
		for _, name := range slices.Sorted(maps.Keys(f.volumes)) {
			list = append(list, map[string]any{"Name": name, "Driver": f.volumes[name], "Scope": "local", "Mountpoint": "", "Labels": nil, "Options": nil})
		}
		answer(w, http.StatusOK, map[string]any{"Volumes": list, "Warnings": nil})
	case strings.HasSuffix(path, "/pause"), strings.HasSuffix(path, "/unpause"):
		id, verb, _ := strings.Cut(strings.TrimPrefix(path, "/containers/"), "/")
		f.pause(w, id, verb == "pause")
	default:
		answer(w, http.StatusNotFound, message("page not found"))
	}
}

func message(text string) map[string]any { return map[string]any{"message": text} }

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}
