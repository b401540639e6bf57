package bench

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// Names of the networks that are compared, which are also those of their peers.
const (
	mos     = "mos"
	bridge  = "bridge"
	macvlan = "macvlan"
	noop    = "no-op plugin" // gives no interface
	pair    = "veth plugin"  // gives a veth pair and does no more
)

// network is the name of a peer's network.
func network(peer string) string {
	return map[string]string{mos: "bmos", bridge: "bbridge", macvlan: "bmacvlan", noop: "bnoop", pair: "bpair"}[peer]
}

// spent is how long a plugin has worked so far.
type spent struct{ ns atomic.Int64 }

func (s *spent) ms() float64 { return float64(s.ns.Load()) / 1e6 }

// networks makes all networks on a host. It returns what the veth plugin spends,
// which tells of the machine as much as of the plugin.
func networks(b *testing.B, h *lab.Host) *spent {
	b.Helper()
	fake(b, h, "noop", func(string, string) any { return map[string]any{"DisableGatewayService": true} })
	worked := veths(b, h)
	h.D("network", "create", "-d", "bridge", "--subnet", "10.91.0.0/16", network(bridge))
	h.D("network", "create", "-d", "macvlan", "-o", "parent=up0", "--subnet", "10.92.0.0/16", network(macvlan))
	h.D("network", "create", "-d", "noop", "--subnet", "10.93.0.0/16", network(noop))
	h.D("network", "create", "-d", "pair", "--subnet", "10.94.0.0/16", network(pair))
	h.Network(network(mos), "--subnet", "10.95.0.0/16")
	b.Cleanup(func() { remove(b, h) })
	return worked
}

// remove takes all containers and networks away. Engine 20.10 sometimes loses
// count of a network's endpoints when many containers end at once, whatever the
// driver, and counts again when it starts.
func remove(b *testing.B, h *lab.Host) {
	b.Helper()
	if ids := strings.Fields(h.D("ps", "-aq")); len(ids) > 0 {
		h.D(append([]string{"rm", "-f"}, ids...)...)
	}
	for _, p := range []string{mos, bridge, macvlan, noop, pair} {
		if _, err := h.Docker("network", "rm", network(p)); err == nil {
			continue
		}
		if err := errors.Join(h.Stop(rig.Dockerd), h.Start(rig.Dockerd)); err != nil {
			b.Fatal(err)
		}
		h.D("network", "rm", network(p))
	}
}

// fake serves a plugin that agrees to everything. answer gives what is said to
// a Join, and is told of a DeleteEndpoint.
func fake(b *testing.B, h *lab.Host, name string, answer func(call, endpoint string) any) *spent {
	b.Helper()
	l, err := net.Listen("unix", filepath.Join(h.PluginDir(), name+".sock"))
	if err != nil {
		b.Fatal(err)
	}
	worked := &spent{}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		defer func() { worked.ns.Add(int64(time.Since(start))) }()
		var req struct {
			EndpointID string `json:"EndpointID"`
		}
		_ = json.NewDecoder(r.Body).Decode(&req) // Plugin.Activate has no body
		var resp any = struct{}{}
		switch r.URL.Path {
		case "/Plugin.Activate":
			resp = map[string]any{"Implements": []string{"NetworkDriver"}}
		case "/NetworkDriver.GetCapabilities":
			resp = map[string]string{"Scope": "local", "ConnectivityScope": "local"}
		case "/NetworkDriver.Join", "/NetworkDriver.DeleteEndpoint":
			resp = answer(r.URL.Path, req.EndpointID)
		}
		_ = json.NewEncoder(w).Encode(resp) // dockerd tells when it misses it
	})}
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(func() { _ = srv.Close() })
	return worked
}

// veths serves a plugin that gives each container one end of a veth pair. What
// it takes longer than a plugin that gives nothing is what any driver of this
// kind must pay: the kernel's work for a link and the engine's for setting it up.
func veths(b *testing.B, h *lab.Host) *spent {
	b.Helper()
	ns, err := netns.GetFromPath(h.NetNS())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ns.Close() })
	return fake(b, h, "pair", func(call, endpoint string) any {
		nl, err := netlink.NewHandleAt(ns)
		if err != nil {
			return map[string]string{"Err": err.Error()}
		}
		defer nl.Close()
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Flags = "bh"+endpoint[:10], net.FlagUp
		v := netlink.NewVeth(attrs)
		v.PeerName = "bp" + endpoint[:10]
		if call == "/NetworkDriver.DeleteEndpoint" {
			_ = nl.LinkDel(v) // gone with its container, maybe
			return struct{}{}
		}
		if err := nl.LinkAdd(v); err != nil {
			return map[string]string{"Err": err.Error()}
		}
		return map[string]any{"InterfaceName": map[string]string{"SrcName": v.PeerName, "DstPrefix": "eth"}, "DisableGatewayService": true}
	})
}
