package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// fleet is a cluster with services web and db.
type fleet struct {
	*lab.Fleet
	t *testing.T
}

// service writes the file of service web, whose app is of a version, and whose sets are
// spread over hosts and racks.
func (f *fleet) service(replicas int, version string) string {
	f.t.Helper()
	return f.File("web.json", fmt.Sprintf(`{"name": "web", "spec": {"replicas": %d,
  "placement": {"strategy": "even", "spread": [{"level": "host", "maxSkew": 1}, {"level": "rack", "weight": 10}]},
  "set": {"CPU": 0.3, "MEM": "64m", "Network": {"Name": "prod"}, "Sysctls": {"net.ipv4.tcp_migrate_req": "1"}, "Containers": [
    {"Name": "app", "Image": %q, "Options": {"CPU": 80, "MEM": 80, "Env": {"VERSION": %q}, "Command": ["netcheck", "serve", "-share", "-ready", "/tmp/ready", ":7000"],
      "Ready": {"Exec": ["test", "-e", "/tmp/ready"], "Deadline": "60s"}, "Update": {"Strategy": "overlap"}, "Stop": {"Grace": "10s"}}},
    {"Name": "side", "Image": %q, "Options": {"CPU": 10, "MEM": 10, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}]}}}`,
		replicas, rig.Image, version, rig.Image))
}

// where is the host of each set of web that is ready, and its address.
func (f *fleet) where() (map[string]*lab.Host, map[string]string) {
	f.t.Helper()
	out := f.Head.Set("service", "ps", "web", "--format", "{{.Name}} {{.Host}} {{.Phase}} {{.Addresses}}")
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
	f.Eventually(func() (err error) {
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

// db writes the file of a service whose sets have volumes, one a host.
func (f *fleet) db() string {
	f.t.Helper()
	return f.File("db.json", fmt.Sprintf(`{"name": "db", "spec": {"replicas": %d, "placement": {"spread": [{"level": "host", "maxSkew": 1}]},
  "set": {"CPU": 0.1, "MEM": "32m", "Network": {"Name": "prod"}, "Volume": {"Size": "32m", "Path": "/data"}, "Containers": [
    {"Name": "app", "Image": %q, "Options": {"CPU": 80, "MEM": 80, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}]}}}`, len(f.Hosts), rig.Image))
}

// TestServiceOnFiveHosts: ten sets over five hosts in two racks, with addresses that the
// cluster gives, talk over the VLAN; a member is updated under load; a host dies, and comes
// back; the Engine of another does; another is cut off from the controllers, and is joined again. All the while a
// history is recorded of who was where.
func TestServiceOnFiveHosts(t *testing.T) {
	f := &fleet{lab.NewFleet(t, rig.Config{Hosts: 5, Newest: 2}), t}
	history, stop := f.Record()
	f.Head.Set("service", "create", "-f", f.service(10, "1"))
	f.Head.Set("service", "create", "-f", f.db())
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

	f.tellsUse(t)
	f.heedsWhatHostsHave(t)
	f.updated(t, addresses[one])
	f.dies(t, f.Hosts[4], history)
	f.staysAway(t, f.Hosts[2], history)
	f.cutOff(t, f.Hosts[3])

	stop()
	if n := history.Check(t, "db"); n < 15 {
		t.Errorf("%d containers were seen", n)
	}
	f.Head.Set("service", "rm", "web", "db")
	f.givesBack(t, f.Hosts[2], f.Hosts[3])
	last := f.Hosts[1]
	last.Mos("host", "leave")
	f.Eventually(func() error { return f.Are("lost", last) })
	f.Head.Set("host", "rm", last.Name)
}

// heedsWhatHostsHave makes an image on one host, and a container that has a port on another: a set of
// the image goes to the first, and one that publishes the port not to the last.
func (f *fleet) heedsWhatHostsHave(t *testing.T) {
	t.Helper()
	has, holds := f.Hosts[2], f.Hosts[1]
	has.D("run", "--name", "maker", "--network", "none", rig.Image, "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=64")
	has.D("commit", "maker", "only/here:1")
	has.D("rm", "maker")
	holds.D("run", "-d", "--name", "lone", "-p", "8080:80", rig.Image, "sleep", "100000")
	for name, ports := range map[string]string{"shop": "", "front": `"Ports": ["8080:80"], `} {
		f.Head.Set("service", "create", "-f", f.File(name+".json", fmt.Sprintf(`{"name": %q, "spec": {"replicas": 0, "placement": {"strategy": "even"}, "set": {"CPU": 0.1, "MEM": "32m", "Network": {"Name": "prod"}, %s"Containers": [
    {"Name": "app", "Image": "only/here:1", "Options": {"CPU": 80, "MEM": 80, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}]}}}`, name, ports)))
	}
	f.Eventually(func() error {
		out := f.Head.Set("explain", "front", "--host", holds.Name)
		for _, want := range []string{"4 of 5 hosts fit", "1. " + has.Name + ",", "MiB to pull", "port 8080/tcp is held by the host"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("it does not say %q: %s", want, out)
			}
		}
		return nil
	})
	f.Head.Set("service", "scale", "shop=1")
	if out := f.Head.Set("service", "ps", "shop", "--format", "{{.Host}}"); out != has.Name {
		t.Errorf("the set is on %s, and its image on %s", out, has.Name)
	}
	f.Head.Set("service", "rm", "shop", "front")
	holds.D("rm", "-f", "lone")
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
	failed, _ := askedAt(t, f.Head, address, "a gray update of ten sets", func() {
		f.Head.Set("service", "update", "-f", f.service(10, "2"), "web")
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

// tellsUse waits until each host has told what it and its sets use.
func (f *fleet) tellsUse(t *testing.T) {
	t.Helper()
	f.Eventually(func() error {
		out := f.Head.Set("host", "top", "--sets", "--no-stream", "--format", "{{.Name}} {{.Memory}}")
		for _, h := range f.Hosts {
			if !strings.Contains(out, h.Name+" ") {
				return fmt.Errorf("%s tells nothing:\n%s", h.Name, out)
			}
		}
		at, _ := f.where()
		for set := range at {
			if !strings.Contains(out, set+" ") {
				return fmt.Errorf("nothing is told of %s:\n%s", set, out)
			}
		}
		return nil
	})
}

// givesBack takes the network away, from one host by itself first. A block stays its host's while
// a container has an address of it.
func (f *fleet) givesBack(t *testing.T, without, h *lab.Host) {
	t.Helper()
	blocks := func(of *lab.Host) string {
		return f.Head.Set("host", "inspect", "--format", `{{range index .status "blocks"}}{{.prefix}}{{end}}`, of.Name)
	}
	f.Eventually(func() error {
		if left := without.D("ps", "-a", "-q", "-f", "network=prod"); left != "" {
			return fmt.Errorf("containers of services that were removed are there: %s", left)
		}
		return nil
	})
	without.D("network", "rm", "prod")
	f.Eventually(func() error {
		if b := blocks(without); b != "" {
			return fmt.Errorf("%s has block %s of a network that it has no more", without.Name, b)
		}
		return nil
	})
	h.D("run", "-d", "--name", "lone", "--network", "prod", rig.Image, "sleep", "1d")
	ip := netip.MustParseAddr(h.D("inspect", "-f", "{{.NetworkSettings.Networks.prod.IPAddress}}", "lone"))
	f.Head.Set("network", "rm", "prod")
	ls := func() string { return f.Head.Set("network", "ls", "--format", "{{.Name}} {{.Blocks}}") }
	f.Eventually(func() error {
		if out := ls(); out != "prod 1" {
			return fmt.Errorf("one host has a container in the network, and there is %q", out)
		}
		return nil
	})
	if b := blocks(h); !netip.MustParsePrefix(b).Contains(ip) {
		t.Errorf("%s has block %s while its container has %s", h.Name, b, ip)
	}
	h.D("rm", "-f", "lone")
	f.Eventually(func() error {
		if out := ls(); out != "" {
			return fmt.Errorf("there is %q when the last container is gone", out)
		}
		return nil
	})
}

// own is the set with a volume on a host.
func (f *fleet) own(h *lab.Host) string {
	f.t.Helper()
	name := h.D("ps", "-a", "--format", "{{.Names}}", "-f", "name=^db-.*infra$")
	return strings.TrimSuffix(name, ".infra")
}

// dies takes the power of a host away, and gives it back.
func (f *fleet) dies(t *testing.T, h *lab.Host, y *lab.History) {
	t.Helper()
	db := f.own(h)
	h.D("exec", db+".app", "sh", "-c", "echo kept > /data/f; sync")
	began := time.Now()
	y.Gone(h.Name)
	h.Off()
	f.ready(10, h)
	t.Logf("a dead host's sets are ready elsewhere after %v", time.Since(began).Round(100*time.Millisecond))
	if err := f.Are("lost", h); err != nil {
		t.Error(err)
	}
	if out := f.Head.Set("service", "ps", "db", "--format", "{{.Name}} {{.Host}}"); !strings.Contains(out, db+" "+h.Name) {
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

// staysAway kills the Engine of a host, whose containers and mosd go on, and starts it again when its
// sets are elsewhere.
func (f *fleet) staysAway(t *testing.T, h *lab.Host, y *lab.History) {
	t.Helper()
	began := time.Now()
	y.Gone(h.Name)
	if err := h.Kill9(rig.Dockerd); err != nil {
		t.Fatal(err)
	}
	f.Eventually(func() error { return f.Are("troubled", h) })
	f.ready(10, h)
	t.Logf("the sets of a host without its Engine are ready elsewhere after %v", time.Since(began).Round(100*time.Millisecond))
	if err := f.Are("lost", h); err != nil {
		t.Error(err)
	}
	if err := h.Start(rig.Dockerd); err != nil {
		t.Fatal(err)
	}
	f.back(h)
}

// back waits until a host that was lost is of the cluster again, and has just what it is to have.
func (f *fleet) back(h *lab.Host) {
	f.t.Helper()
	f.Eventually(func() error { return f.Whole(h) })
	f.ready(10)
}

// cutOff takes the link to the controllers from a host, whose network of containers stays.
func (f *fleet) cutOff(t *testing.T, h *lab.Host) {
	t.Helper()
	ids := func() string { return h.D("ps", "-q", "--no-trunc", "-f", "label=mos.set") }
	before := ids()
	f.CutOff(h)
	began := time.Now()
	f.ready(10, h)
	t.Logf("the sets of a host that is cut off are ready elsewhere after %v", time.Since(began).Round(100*time.Millisecond))
	if now := ids(); now != before {
		t.Errorf("what ran on the host that is cut off was touched:\n%s\n%s", before, now)
	}
	f.Reach(h)
	f.back(h)
}
