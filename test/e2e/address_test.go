package e2e

import (
	"errors"
	"testing"

	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestAddressesStay: one asked for is kept for its container for ever, one
// that was not stays with the container's name where the engine tells it.
func TestAddressesStay(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			l := lab.New(t, rig.Config{Engine: engine})
			h := l.Hosts[0]
			h.Network("red", "--subnet", "10.9.0.0/28", "--aux-address", "router=10.9.0.2")
			h.Serve("fixed", "red", "--ip", "10.9.0.5")
			h.Serve("loose", "red")
			first := h.IP("loose", "red")
			h.D("stop", "-t", "0", "fixed", "loose")
			for _, n := range []string{"one", "two", "three"} {
				h.Serve(n, "red")
				if ip := h.IP(n, "red"); ip == "10.9.0.5" || ip == "10.9.0.2" {
					t.Errorf("%s got %s, which is kept", n, ip)
				}
			}
			h.D("start", "fixed", "loose")
			if ip := h.IP("fixed", "red"); ip != "10.9.0.5" {
				t.Errorf("fixed came back with %s", ip)
			}
			if ip := h.IP("loose", "red"); engine == rig.EngineNew && ip != first {
				t.Errorf("loose came back with %s, had %s", ip, first)
			}
			h.Talks("loose", "10.9.0.5")
		})
	}
}

// TestAddressComesBackAfterALostRelease: a container that died while no driver
// listened gets its address again, though nobody released it.
func TestAddressComesBackAfterALostRelease(t *testing.T) {
	l := lab.New(t, rig.Config{})
	h := l.Hosts[0]
	h.Network("red", "--subnet", "10.9.0.0/24")
	h.Serve("fixed", "red", "--ip", "10.9.0.5")
	h.Serve("other", "red")
	if err := h.Kill9(lab.Mosbridge); err != nil {
		t.Fatal(err)
	}
	killed := make(chan error, 1)
	go func() { _, err := h.Docker("kill", "fixed"); killed <- err }()
	// dockerd tries to tell the driver for 15 s.
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if out := h.D("inspect", "-f", "{{.State.Running}}", "fixed"); out != "false" {
			return errors.New("it still runs")
		}
		return nil
	})
	if err := h.Start(lab.Mosbridge); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { _, err := h.Docker("start", "fixed"); return err })
	h.Talks("other", "10.9.0.5")
}

// TestRatesChangeLive: limits hold in both directions and change while the
// container runs, without a lost connection.
func TestRatesChangeLive(t *testing.T) {
	l := lab.New(t, rig.Config{TSO: true})
	h := l.Hosts[0]
	h.Network("red", "--subnet", "10.9.0.0/24", "-o", "mos.rate.out=200mbit")
	h.Serve("aa", "red", "--ip", "10.9.0.21")
	h.Serve("bb", "red", "--ip", "10.9.0.22")
	set := func(r api.RatesRequest) {
		t.Helper()
		if _, err := h.API.SetRates(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	meters := func() string {
		out, err := h.Exec(t.Context(), "ovs-ofctl", "-O", "OpenFlow14", "dump-meters", "mosbr0")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	h.Talks("aa", "10.9.0.22")
	slow, none := uint64(5_000_000), uint64(0)
	set(api.RatesRequest{Endpoint: endpoint(h, "aa", "red"), Out: &slow})
	limited := seconds(t, h, "aa", "10.9.0.22")
	set(api.RatesRequest{Endpoint: endpoint(h, "aa", "red"), Out: &none})
	free := seconds(t, h, "aa", "10.9.0.22")
	if limited < 3*free || limited < 2 {
		t.Errorf("2 MiB took %.1f s at 5 mbit and %.1f s without a limit", limited, free)
	}
	set(api.RatesRequest{Network: networkID(h, "red"), Out: &none})
	if m := meters(); containsMeter(m) {
		t.Errorf("meters are left without a limit: %s", m)
	}
	h.Talks("bb", "10.9.0.21")
}
