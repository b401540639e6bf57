package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestNamesAndAddressesOfTheCluster: sets have the addresses that the cluster claimed for them,
// and find each other by names, Docker's own first; they go on doing so while the scheduler
// is away, also after mosd was killed.
func TestNamesAndAddressesOfTheCluster(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.Engine20) {
		t.Run(string(engine), func(t *testing.T) {
			h := lab.NewSets(t, rig.Config{Engine: engine}).Hosts[0]
			h.Network("prod", "--subnet", "10.9.0.0/24")
			h.Cluster()
			h.Set("network", "create", "prod", "--subnet", "10.9.0.0/24", "--ip-range", "10.9.0.64/28", "--gateway", "10.9.0.1", "--block", "30")
			h.Set("service", "create", "-f", serviceFile(t, "1"))
			runs(t, h, 3, "1")
			var all []string
			for i := 1; i <= 3; i++ {
				ip := h.IP(fmt.Sprintf("web-%d.infra", i), "prod")
				if !strings.HasPrefix(ip, "10.9.0.6") && !strings.HasPrefix(ip, "10.9.0.7") || slices.Contains(all, ip) {
					t.Errorf("set %d has address %s beside %v", i, ip, all)
				}
				all = append(all, ip)
			}
			slices.Sort(all)
			asks(t, h, "web.mos.internal", all...)
			asks(t, h, "web-2.web.mos.internal", h.IP("web-2.infra", "prod"))
			asks(t, h, "web-2.infra", h.IP("web-2.infra", "prod")) // Docker's own
			if out, err := h.Exec(t.Context(), "docker", "exec", "web-1.app", "nslookup", "nope.mos.internal"); err == nil || !strings.Contains(out+err.Error(), "NXDOMAIN") {
				t.Errorf("a name that is not: %q, %v", out, err)
			}
			ownAddresses(t, h, "solo1")
			h.Set("service", "scale", "web=2")
			testx.Eventually(t, 30*time.Second, func() error {
				return asked(t, h, "web.mos.internal", h.IP("web-1.infra", "prod"), h.IP("web-2.infra", "prod"))
			})

			if err := h.Kill9("mos-scheduler"); err != nil {
				t.Fatal(err)
			}
			asks(t, h, "web-1.web.mos.internal", h.IP("web-1.infra", "prod"))
			if err := h.Kill9("mosd"); err != nil {
				t.Fatal(err)
			}
			asks(t, h, "web-2.infra", h.IP("web-2.infra", "prod"))
			ownAddresses(t, h, "solo2")
			if err := h.Start("mosd"); err != nil {
				t.Fatal(err)
			}
			asks(t, h, "web-1.web.mos.internal", h.IP("web-1.infra", "prod"))
			h.D("restart", "-t", "0", "web-1.infra") // it has another network of its own then, and is asked there
			asks(t, h, "web-2.web.mos.internal", h.IP("web-2.infra", "prod"))
			if err := h.Start("mos-scheduler"); err != nil {
				t.Fatal(err)
			}
			h.Set("service", "rm", "web")
			runs(t, h, 0, "")
		})
	}
}

// ownAddresses: a container of no set gets an address of the host's block, and none of others.
func ownAddresses(t *testing.T, h *lab.Host, name string) {
	t.Helper()
	testx.Eventually(t, 30*time.Second, func() error {
		if out, err := h.Exec(t.Context(), "docker", "run", "-d", "--name", name, "--network", "prod", rig.Image, "sleep", "1d"); err != nil {
			_, gone := h.Exec(t.Context(), "docker", "rm", "-f", name)
			return errors.Join(err, errors.New(out), gone)
		}
		return nil
	})
	if ip, err := netip.ParseAddr(h.IP(name, "prod")); err != nil || !netip.MustParsePrefix("10.9.0.76/30").Contains(ip) {
		t.Errorf("%s has address %s, which is not of the host's block", name, ip)
	}
	out, err := h.Exec(t.Context(), "docker", "run", "--rm", "--network", "prod", "--ip", "10.9.0.70", rig.Image, "true")
	if err == nil || !strings.Contains(out+err.Error(), "10.9.0.70 of network prod is given out by the cluster") || !strings.Contains(out+err.Error(), "10.9.0.76/30") {
		t.Errorf("an address of others: %q, %v", out, err)
	}
}

// asks waits until a container finds just these addresses by a name.
func asks(t *testing.T, h *lab.Host, name string, want ...string) {
	t.Helper()
	testx.Eventually(t, 30*time.Second, func() error { return asked(t, h, name, want...) })
}

func asked(t *testing.T, h *lab.Host, name string, want ...string) error {
	t.Helper()
	out, err := h.Exec(t.Context(), "docker", "exec", "web-1.app", "nslookup", "-type=a", name)
	if err != nil {
		return errors.Join(err, errors.New(out))
	}
	var got []string
	_, answer, _ := strings.Cut(out, "\n\n") // what stands before is the server
	for line := range strings.Lines(answer) {
		if a, is := strings.CutPrefix(strings.TrimSpace(line), "Address: "); is {
			got = append(got, a)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s is %v, wanted %v: %s", name, got, want, out)
	}
	return nil
}
