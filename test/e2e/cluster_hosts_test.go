package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	hostapi "github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// fleet is hosts of one cluster: the first has its mos-scheduler, the others are joined to
// it by TLS; two racks; all are in VLAN 100, which is network prod.
type fleet struct {
	*lab.Lab
	t        *testing.T
	head     *lab.Host
	endpoint string
	token    string // its file, on all hosts
}

func newFleet(t *testing.T, engine rig.Engine, hosts int) *fleet {
	t.Helper()
	f := &fleet{Lab: lab.NewSets(t, rig.Config{Hosts: hosts, Engine: engine, Outside: true}), t: t}
	f.head = f.Hosts[0]
	f.endpoint = "https://" + f.head.IPv4() + ":7443"
	f.daemon(f.head, rig.Daemon{
		Name: "mos-scheduler", Argv: []string{lab.Program(t, "mos-scheduler"), "-listen=0.0.0.0:7443", "-names=" + f.head.IPv4()},
		Ready: func() error { _, err := f.head.TrySet("service", "ls"); return err },
	})
	f.token = filepath.Join(t.TempDir(), "token")
	f.write(f.token, f.head.MustExec(t, lab.Program(t, "mos-scheduler"), "token", "create", "rack", "-role", "host", "-ttl", "1h"))
	t.Cleanup(func() { // what is removed then is not to be healed
		for _, h := range f.Hosts {
			if err := h.Stop("mosd"); err != nil {
				t.Error(err)
			}
		}
	})
	var work sync.WaitGroup
	for i, h := range f.Hosts {
		work.Go(func() {
			h.Network("prod", "--subnet", "10.9.0.0/24", "-o", "mos.uplink=up0", "-o", "mos.vlan=100")
			f.daemon(h, rig.Daemon{
				Name: "mosd", Argv: []string{lab.Program(t, "mosd"), "-cluster.name=" + h.Name, fmt.Sprintf("-cluster.labels=rack=r%d", i%2)},
				Ready: func() error { _, err := hostapi.New(h.Path("/run/mos/mosd.sock")).Status(t.Context()); return err },
			})
			if h != f.head {
				h.Mos("host", "join", "--token-file", f.token, f.endpoint)
			}
		})
	}
	work.Wait()
	f.eventually(func() error { return f.hosts("active", f.Hosts...) })
	f.head.Set("network", "create", "prod", "--subnet", "10.9.0.0/24", "--exclude", "10.9.0.0/28")
	return f
}

func (f *fleet) write(path, text string) {
	f.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) daemon(h *lab.Host, d rig.Daemon) {
	f.t.Helper()
	if err := h.StartDaemon(d); err != nil {
		f.t.Error(err)
	}
}

// eventually has long enough for hosts that share two processors.
func (f *fleet) eventually(check func() error) {
	f.t.Helper()
	testx.Eventually(f.t, 90*time.Second, check)
}

// hosts says whether hosts are in a state, as docker set host ls has it.
func (f *fleet) hosts(state string, hosts ...*lab.Host) error {
	out, err := f.head.TrySet("host", "ls", "--format", "{{.Name}} {{.State}}")
	for _, h := range hosts {
		if err == nil && !slices.Contains(strings.Split(strings.TrimSpace(out), "\n"), h.Name+" "+state) {
			err = fmt.Errorf("%s is not %s: %q", h.Name, state, out)
		}
	}
	return err
}

// service writes the file of service web, whose app is of a version, and whose sets are
// spread over hosts and racks.
func (f *fleet) service(replicas int, version string) string {
	f.t.Helper()
	path := filepath.Join(f.t.TempDir(), "web.json")
	f.write(path, fmt.Sprintf(`{"name": "web", "spec": {"replicas": %d,
  "placement": {"strategy": "even", "spread": [{"level": "host", "maxSkew": 1}, {"level": "rack", "weight": 10}]},
  "set": {"CPU": 0.1, "MEM": "64m", "Network": {"Name": "prod"}, "Sysctls": {"net.ipv4.tcp_migrate_req": "1"}, "Containers": [
    {"Name": "app", "Image": %q, "Options": {"CPU": 80, "MEM": 80, "Env": {"VERSION": %q}, "Command": ["netcheck", "serve", "-share", "-ready", "/tmp/ready", ":7000"],
      "Ready": {"Exec": ["test", "-e", "/tmp/ready"], "Deadline": "60s"}, "Update": {"Strategy": "overlap"}, "Stop": {"Grace": "10s"}}},
    {"Name": "side", "Image": %q, "Options": {"CPU": 10, "MEM": 10, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}]}}}`,
		replicas, rig.Image, version, rig.Image))
	return path
}

// where is the host of each set of web that is ready, and its address.
func (f *fleet) where() (map[string]*lab.Host, map[string]string) {
	f.t.Helper()
	out := f.head.Set("service", "ps", "web", "--format", "{{.Name}} {{.Host}} {{.Phase}} {{.Addresses}}")
	hosts, addresses := map[string]*lab.Host{}, map[string]string{}
	for line := range strings.Lines(out) {
		w := strings.Fields(line)
		for _, h := range f.Hosts {
			if len(w) > 3 && w[1] == h.Name && w[2] == "ready" {
				hosts[w[0]], addresses[w[0]] = h, w[3]
			}
		}
	}
	return hosts, addresses
}

// ready waits until so many sets are ready, none of them on a host of these, and returns
// how many each host has.
func (f *fleet) ready(sets int, but ...*lab.Host) map[*lab.Host]int {
	f.t.Helper()
	var each map[*lab.Host]int
	f.eventually(func() (err error) {
		at, _ := f.where()
		each = map[*lab.Host]int{}
		for _, h := range at {
			each[h]++
			if slices.Contains(but, h) {
				err = fmt.Errorf("%s has sets still", h.Name)
			}
		}
		if err == nil && len(at) != sets {
			err = fmt.Errorf("%d of %d sets are ready: %v", len(at), sets, slices.Sorted(maps.Keys(at)))
		}
		return err
	})
	return each
}

// history is who ran where with which address, as the Engines of all hosts told while the
// test went on.
type history struct {
	mu    sync.Mutex // guards all below
	seen  map[string]*life
	heard map[string]time.Time // when hosts were last looked at
	gaps  []string             // looks that came late, of hosts that were not off
	off   map[string]bool
}

// life is one infra container.
type life struct {
	set, host, address string
	first, last        time.Time // of the looks that saw it run
}

// record looks at a fleet until the test ends, or stop is called.
func (f *fleet) record() (_ *history, end func()) {
	y := &history{seen: map[string]*life{}, heard: map[string]time.Time{}, off: map[string]bool{}}
	ctx, stop := context.WithCancel(f.t.Context())
	var work sync.WaitGroup
	for _, h := range f.Hosts {
		c := client(h.Socket())
		work.Go(func() {
			defer c.CloseIdleConnections()
			for tick := time.NewTicker(200 * time.Millisecond); ; {
				y.look(ctx, c, h.Name)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	f.t.Cleanup(stop)
	return y, func() { stop(); work.Wait() }
}

func (y *history) look(ctx context.Context, c *http.Client, host string) {
	q := url.Values{"filters": {`{"label":["mos.role=infra"],"status":["running"]}`}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/containers/json?"+q.Encode(), nil)
	if err != nil {
		panic(err) // it is ours
	}
	now := time.Now()
	resp, err := c.Do(r)
	if err != nil {
		return // the host is off
	}
	defer resp.Body.Close()
	var all []struct {
		ID              string            `json:"Id"`
		Labels          map[string]string `json:"Labels"`
		NetworkSettings struct {
			Networks map[string]struct {
				IPAddress string `json:"IPAddress"`
			} `json:"Networks"`
		} `json:"NetworkSettings"`
	}
	if json.NewDecoder(resp.Body).Decode(&all) != nil {
		return
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if was := y.heard[host]; !was.IsZero() && !y.off[host] && now.Sub(was) > blind {
		y.gaps = append(y.gaps, fmt.Sprintf("%s was not looked at for %v until %v", host, now.Sub(was), now))
	}
	y.heard[host], y.off[host] = now, false
	for _, x := range all {
		l := y.seen[x.ID]
		if l == nil {
			l = &life{set: x.Labels["mos.set"], host: host, first: now}
			y.seen[x.ID] = l
		}
		l.last = time.Now()
		if a := x.NetworkSettings.Networks["prod"].IPAddress; a != "" {
			l.address = a
		}
	}
}

// blind is for how long a history may not know what a host does. Two processors are shared
// by five hosts that start and stop.
const blind = 20 * time.Second

// gone says that a host is off from here on until it answers again.
func (y *history) gone(host string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.off[host] = true
}

// check says whether an address was active on two hosts at a time, or a set with a volume
// of its own on two hosts at all.
func (y *history) check(t *testing.T) {
	t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.seen) < 15 || len(y.gaps) > 0 {
		t.Errorf("%d containers were seen, with gaps: %q", len(y.seen), y.gaps)
	}
	byAddress, homes := map[string][]*life{}, map[string]string{}
	for _, l := range y.seen {
		byAddress[l.address] = append(byAddress[l.address], l)
		if strings.HasPrefix(l.set, "db-") {
			if was, ok := homes[l.set]; ok && was != l.host {
				t.Errorf("set %s with a volume ran on %s and on %s", l.set, was, l.host)
			}
			homes[l.set] = l.host
		}
	}
	for address, all := range byAddress {
		for i, l := range all {
			if address == "" {
				t.Errorf("%s on %s had no address", l.set, l.host)
				break
			}
			for _, m := range all[:i] {
				if m.host != l.host && !l.first.After(m.last) && !m.first.After(l.last) {
					t.Errorf("%s was active twice: as %s on %s from %v to %v, as %s on %s from %v to %v",
						address, m.set, m.host, m.first, m.last, l.set, l.host, l.first, l.last)
				}
			}
		}
	}
}

// db writes the file of a service whose sets have volumes, one a host.
func (f *fleet) db() string {
	f.t.Helper()
	path := filepath.Join(f.t.TempDir(), "db.json")
	f.write(path, fmt.Sprintf(`{"name": "db", "spec": {"replicas": %d, "placement": {"spread": [{"level": "host", "maxSkew": 1}]},
  "set": {"CPU": 0.1, "MEM": "32m", "Network": {"Name": "prod"}, "Volume": {"Size": "32m", "Path": "/data"}, "Containers": [
    {"Name": "app", "Image": %q, "Options": {"CPU": 80, "MEM": 80, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}]}}}`, len(f.Hosts), rig.Image))
	return path
}

// TestServiceOnFiveHosts: ten sets over five hosts in two racks, with addresses that the
// cluster gives, talk over the VLAN; a member is updated under load; a host dies, and comes
// back; another is cut off from the controllers, and is joined again. All the while a
// history is recorded of who was where.
func TestServiceOnFiveHosts(t *testing.T) {
	f := newFleet(t, rig.Engine20, 5)
	history, stop := f.record()
	f.head.Set("service", "create", "-f", f.service(10, "1"))
	f.head.Set("service", "create", "-f", f.db())
	for h, n := range f.ready(10) {
		if n != 2 {
			t.Errorf("%s has %d sets of ten on five hosts", h.Name, n)
		}
	}
	at, addresses := f.where()
	one := slices.Min(slices.Collect(maps.Keys(at)))
	for set, h := range at {
		if h != at[one] {
			at[one].Talks(one+".app", addresses[set])
		}
	}

	f.updated(t, addresses[one])
	f.dies(t, f.Hosts[4], history)
	f.cutOff(t, f.Hosts[3])

	stop()
	history.check(t)
	f.head.Set("service", "rm", "web", "db")
	f.head.Set("network", "rm", "prod")
	last := f.Hosts[1]
	last.Mos("host", "leave")
	f.eventually(func() error { return f.hosts("lost", last) })
	f.head.Set("host", "rm", last.Name)
}

// updated changes a member of all sets while a client asks one of them.
func (f *fleet) updated(t *testing.T, address string) {
	t.Helper()
	side := func() string {
		var ids []string
		for _, h := range f.Hosts {
			ids = append(ids, h.D("ps", "-q", "--no-trunc", "-f", "name=^web-.*side$", "-f", "label=mos.member=side"))
		}
		return strings.Join(ids, "\n")
	}
	before := side()
	failed, _ := askedAt(t, f.head, address, "a gray update of ten sets", func() {
		f.head.Set("service", "update", "-f", f.service(10, "2"), "web")
	})
	if failed > 0 {
		t.Errorf("%d requests failed while the app was updated by overlap", failed)
	}
	if now := side(); now != before {
		t.Errorf("other members were touched:\n%s\n%s", before, now)
	}
	for _, h := range f.Hosts {
		env := h.D("inspect", "-f", "{{.Config.Env}}", h.D("ps", "-q", "-f", "label=mos.member=app", "-f", "name=^web-", "-n", "1"))
		if !strings.Contains(env, "VERSION=2") {
			t.Errorf("%s has %s after the update", h.Name, env)
		}
	}
}

// own is the set with a volume on a host.
func (f *fleet) own(h *lab.Host) string {
	f.t.Helper()
	name := h.D("ps", "-a", "--format", "{{.Names}}", "-f", "name=^db-.*infra$")
	return strings.TrimSuffix(name, ".infra")
}

// dies takes the power of a host away, and gives it back.
func (f *fleet) dies(t *testing.T, h *lab.Host, y *history) {
	t.Helper()
	db := f.own(h)
	h.D("exec", db+".app", "sh", "-c", "echo kept > /data/f; sync")
	began := time.Now()
	y.gone(h.Name)
	h.Off()
	f.ready(10, h)
	t.Logf("a dead host's sets are ready elsewhere after %v", time.Since(began).Round(100*time.Millisecond))
	if err := f.hosts("lost", h); err != nil {
		t.Error(err)
	}
	if out := f.head.Set("service", "ps", "db", "--format", "{{.Name}} {{.Host}}"); !strings.Contains(out, db+" "+h.Name) {
		t.Errorf("the set with a volume did not wait for its host: %s", out)
	}
	if err := h.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.back(h)
	if out := h.D("exec", db+".app", "cat", "/data/f"); out != "kept" {
		t.Errorf("the volume has %q", out)
	}
}

// back waits until a host that was lost is of the cluster again, and has just what it is to have.
func (f *fleet) back(h *lab.Host) {
	f.t.Helper()
	f.eventually(func() error {
		if err := f.hosts("active", h); err != nil {
			return err
		}
		out, err := f.head.TrySet("service", "ps", "--format", "{{.Name}} {{.Host}} {{.Phase}}")
		if err != nil {
			return err
		}
		var want []string
		for line := range strings.Lines(out) {
			if w := strings.Fields(line); w[1] == h.Name {
				if want = append(want, w[0]+".infra"); w[2] != "ready" {
					return errors.New(line)
				}
			}
		}
		have, err := h.Docker("ps", "-a", "--format", "{{.Names}}", "-f", "label=mos.role=infra")
		slices.Sort(want)
		if got := strings.Fields(have); err == nil && !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			err = fmt.Errorf("%s has %q and is to have %q", h.Name, got, want)
		}
		if err != nil {
			return err
		}
		out, err = f.head.TrySet("network", "ls", "--format", "{{.Lost}}")
		if err == nil && strings.TrimSpace(out) != "0" {
			err = fmt.Errorf("%s addresses are kept for hosts that were lost", out)
		}
		return err
	})
	f.ready(10)
}

// cutOff takes the link to the controllers from a host, whose network of containers stays.
func (f *fleet) cutOff(t *testing.T, h *lab.Host) {
	t.Helper()
	ids := func() string { return h.D("ps", "-q", "--no-trunc", "-f", "label=mos.set") }
	before := ids()
	h.MustExec(t, "ip", "link", "set", "out0", "down")
	began := time.Now()
	f.ready(10, h)
	t.Logf("the sets of a host that is cut off are ready elsewhere after %v", time.Since(began).Round(100*time.Millisecond))
	if now := ids(); now != before {
		t.Errorf("what ran on the host that is cut off was touched:\n%s\n%s", before, now)
	}
	h.MustExec(t, "ip", "link", "set", "out0", "up")
	h.MustExec(t, "ip", "route", "replace", "default", "via", "198.51.100.1")
	f.back(h)
}
