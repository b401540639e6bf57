package robust

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// plugin asks a host's driver as dockerd does.
type plugin struct{ h *lab.Host }

// client keeps its connections open.
func (p plugin) client() *http.Client {
	socket := filepath.Join(p.h.PluginDir(), "mos-lvm.sock")
	return &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 1000,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

// get is one Get on a connection of its own.
func (p plugin) get(tb testing.TB, volume string) error {
	tb.Helper()
	c := p.client()
	defer c.CloseIdleConnections()
	return getBy(tb.Context(), c, volume)
}

func getBy(ctx context.Context, c *http.Client, volume string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/VolumeDriver.Get", strings.NewReader(fmt.Sprintf(`{"Name":%q}`, volume)))
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var r struct {
		Err    string `json:"Err"`
		Volume struct {
			Name string `json:"Name"`
		} `json:"Volume"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return err
	}
	if r.Err != "" || r.Volume.Name != volume {
		return fmt.Errorf("Get %s: %q %q", volume, r.Volume.Name, r.Err)
	}
	return nil
}

// TestManyVolumesAreAnsweredFromMemory: with many volumes, 1,000 in the long form,
// 1,000 Gets at once are answered right, and neither they nor docker volume ls
// run a command. How long they take is told, and measured by make bench.
func TestManyVolumesAreAnsweredFromMemory(t *testing.T) {
	many := 60
	if full() {
		many = number(t, "MOS_VOLUMES", 1000)
	}
	h := lab.NewVolumes(t, rig.Config{Engine: rig.EngineNew}, "-interval=1h", "-log.level=info").Hosts[0]
	name := func(n int) string { return fmt.Sprintf("volume-%04d", n%many) }
	start := time.Now()
	var making sync.WaitGroup
	for worker := range 4 {
		making.Go(func() {
			for n := worker; n < many; n += 4 {
				if _, err := h.Volumes.Create(t.Context(), api.CreateRequest{Name: name(n), Options: map[string]string{"size": "16m"}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	making.Wait()
	t.Logf("%d volumes made in %.1f s", many, time.Since(start).Seconds())
	if t.Failed() {
		return
	}
	children := childFaults(t, h.Pid(lab.Lvm))
	var lists []time.Duration
	for range 5 {
		start := time.Now()
		if n := len(strings.Fields(h.D("volume", "ls", "-q"))); n != many {
			t.Fatalf("docker volume ls tells of %d volumes, want %d", n, many)
		}
		lists = append(lists, time.Since(start))
	}
	c := plugin{h}.client()
	defer c.CloseIdleConnections()
	took := make([]time.Duration, 1000)
	for n := range took { // one after the other
		start := time.Now()
		if err := getBy(t.Context(), c, name(n)); err != nil {
			t.Fatal(err)
		}
		took[n] = time.Since(start)
	}
	start = time.Now()
	var asking sync.WaitGroup
	for n := range 1000 { // at once
		asking.Go(func() {
			if err := getBy(t.Context(), c, name(n)); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	burst := time.Since(start)
	if now := childFaults(t, h.Pid(lab.Lvm)); now != children {
		t.Errorf("mos-lvm ran commands: page faults of its children went from %s to %s", children, now)
	}
	slices.Sort(took)
	slices.Sort(lists)
	t.Logf("%d volumes: docker volume ls %v (median of 5), Get p50 %v, p99 %v, 1,000 Gets at once in %v", many, lists[2], took[500], took[990], burst)
	if err := getBy(t.Context(), c, "nobody"); err == nil || !strings.Contains(err.Error(), "no volume nobody") {
		t.Errorf("Get of none: %v", err)
	}
	h.D(append([]string{"volume", "rm"}, strings.Fields(h.D("volume", "ls", "-q"))...)...)
	if _, err := h.Volumes.Purge(t.Context(), api.PurgeRequest{All: true}, nil); err != nil {
		t.Error(err)
	}
	if left := h.Images(); len(left) > 0 {
		t.Errorf("files of no volume: %q", left)
	}
}

// childFaults counts the page faults of all children that a process has waited
// for: it changes with each command that is run.
func childFaults(tb testing.TB, pid int) string {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.Fields(rest)[8] // cminflt of proc(5)
}
