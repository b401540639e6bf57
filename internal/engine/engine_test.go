package engine

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/engine/enginetest"
)

var addrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func open(t *testing.T, host string) *Engine {
	t.Helper()
	e, err := Open(host)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestNetworksOfADriver(t *testing.T) {
	f := enginetest.Start(t)
	f.PutNetwork(enginetest.Network{ID: "n1", Name: "one", Driver: "mosbridge", IPAMDriver: "default", Subnet: "10.1.0.0/24", Options: map[string]string{"mos.vlan": "7"}})
	f.PutNetwork(enginetest.Network{ID: "n2", Name: "two", Driver: "bridge", IPAMDriver: "mosbridge:latest"})
	f.PutNetwork(enginetest.Network{ID: "n3", Name: "three", Driver: "bridge", IPAMDriver: "default"})
	port := enginetest.Port{Network: "n1", Endpoint: "e1", IPv4: "10.1.0.5/24", IPv6: "fd00::5/64", MAC: "02:42:0A:01:00:05"}
	f.PutContainer(enginetest.Container{ID: "c1", Name: "web", State: "running", Ports: []enginetest.Port{port}})
	f.PutContainer(enginetest.Container{ID: "c2", Name: "old", State: "exited", Ports: []enginetest.Port{{Network: "n1", Endpoint: "e2"}}})

	got, err := open(t, f.Host).Networks(t.Context(), "mosbridge")
	if err != nil {
		t.Fatal(err)
	}
	want := []Network{
		{
			ID: "n1", Name: "one", Driver: "mosbridge", IPAMDriver: "default", Options: map[string]string{"mos.vlan": "7"},
			Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")},
			Endpoints: []Endpoint{{
				ID: "e1", Container: "c1", Name: "web", MAC: "02:42:0a:01:00:05",
				IPv4: netip.MustParsePrefix("10.1.0.5/24"), IPv6: netip.MustParsePrefix("fd00::5/64"),
			}},
		},
		{ID: "n2", Name: "two", Driver: "bridge", IPAMDriver: "mosbridge:latest"},
	}
	if d := cmp.Diff(want, got, addrs); d != "" {
		t.Error(d)
	}
}

func TestContainersInEveryState(t *testing.T) {
	f := enginetest.Start(t)
	f.PutNetwork(enginetest.Network{ID: "n1", Name: "one"})
	for _, state := range []string{"running", "exited", "created"} {
		port := enginetest.Port{Network: "n1", Endpoint: "e", IPv4: "10.1.0.5/24", MAC: "02:42:0a:01:00:05", WantIPv4: "10.1.0.5"}
		f.PutContainer(enginetest.Container{ID: state, Name: "c-" + state, State: state, Ports: []enginetest.Port{port}})
	}
	got, err := open(t, f.Host).Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wish := netip.MustParseAddr("10.1.0.5")
	want := []Container{
		{ID: "running", Name: "c-running", State: "running", Networks: []Attachment{{
			Network: "n1", NetworkName: "one", Endpoint: "e", IPv4: netip.MustParsePrefix("10.1.0.5/24"), WantIPv4: wish, MAC: "02:42:0a:01:00:05",
		}}},
		{ID: "exited", Name: "c-exited", State: "exited", Networks: []Attachment{{Network: "n1", NetworkName: "one", WantIPv4: wish}}},
		{ID: "created", Name: "c-created", State: "created", Networks: []Attachment{{NetworkName: "one", WantIPv4: wish}}},
	}
	if d := cmp.Diff(want, got, addrs); d != "" {
		t.Error(d)
	}
}

func TestEngineMayBeReplacedMeanwhile(t *testing.T) {
	f := enginetest.Start(t)
	e := open(t, f.Host)
	for _, v := range []Version{{"20.10.24", "1.41", "1.12"}, {"29.0.0", "1.52", "1.12"}, {"26.1.5", "1.45", "1.12"}} {
		f.SetVersion(v.Engine, v.API)
		got, err := e.Version(t.Context())
		if err != nil || got != v {
			t.Errorf("got %v, %v, want %v", got, err, v)
		}
		if _, err := e.Containers(t.Context()); err != nil {
			t.Errorf("%s: %v", v.Engine, err)
		}
	}
}

func TestErrorsTellWhatToDo(t *testing.T) {
	f := enginetest.Start(t)
	e := open(t, f.Host)
	f.SetVersion("18.09", "1.39")
	if _, err := e.Networks(t.Context(), "x"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("old engine: got %v", err)
	}
	f.SetVersion("20.10", "1.41")
	f.Break("layer store is on fire")
	if _, err := e.Networks(t.Context(), "x"); !errdefs.IsInternal(err) {
		t.Errorf("broken engine: got %v", err)
	}
	f.Stop()
	if _, err := e.Containers(t.Context()); !errdefs.IsUnavailable(err) {
		t.Errorf("stopped engine: got %v", err)
	}
	if _, err := Open("docker.sock"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("bad host: got %v", err)
	}
}

func TestHangingEngineIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	l, err := net.Listen("unix", path) // accepts in the kernel, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errdefs.ErrUnavailable)
	defer cancel()
	if _, err := open(t, "unix://"+path).Version(ctx); !errdefs.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
}

func TestVolumesOfContainers(t *testing.T) {
	f := enginetest.Start(t)
	f.PutContainer(enginetest.Container{ID: "c1", Name: "db", State: "running", Volumes: []enginetest.Volume{
		{Name: "data", Driver: "mos-lvm"}, {Name: "conf", Driver: "local", ReadOnly: true},
	}})
	f.PutContainer(enginetest.Container{ID: "c2", Name: "bare", State: "exited"})
	got, err := open(t, f.Host).Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Container{
		{ID: "c1", Name: "db", State: "running", Volumes: []VolumeUse{{"data", "mos-lvm", true}, {"conf", "local", false}}},
		{ID: "c2", Name: "bare", State: "exited"},
	}
	if d := cmp.Diff(want, got, addrs); d != "" {
		t.Error(d)
	}
}

// TestPausing: what is so already is well, what cannot be is an error.
func TestVolumesOfAllDrivers(t *testing.T) {
	f := enginetest.Start(t)
	f.PutVolume("data", "mos-lvm")
	f.PutVolume("cache", "local")
	got, err := open(t, f.Host).Volumes(t.Context())
	if d := cmp.Diff(map[string]string{"data": "mos-lvm", "cache": "local"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestPausing(t *testing.T) {
	f := enginetest.Start(t)
	e := open(t, f.Host)
	for _, state := range []string{"running", "paused", "exited"} {
		f.PutContainer(enginetest.Container{ID: state, Name: state, State: state})
	}
	for id, well := range map[string]bool{"running": true, "paused": true, "exited": false, "absent": false} {
		if err := e.Pause(t.Context(), id); (err == nil) != well {
			t.Errorf("pause %s: %v", id, err)
		}
	}
	if f.State("running") != "paused" || f.State("exited") != "exited" {
		t.Errorf("they are %s and %s", f.State("running"), f.State("exited"))
	}
	for _, id := range []string{"running", "running", "exited", "absent"} {
		if err := e.Unpause(t.Context(), id); err != nil {
			t.Errorf("unpause %s: %v", id, err)
		}
	}
	if f.State("running") != "running" || f.State("paused") != "paused" {
		t.Errorf("they are %s and %s", f.State("running"), f.State("paused"))
	}
	if err := e.Pause(t.Context(), "absent"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	f.Break("no")
	if e.Pause(t.Context(), "running") == nil || e.Unpause(t.Context(), "paused") == nil {
		t.Error("a broken engine is well")
	}
}
