package mosbridge

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/store"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// fill makes every write of networks and endpoints fail until heal is called.
func fill(d *Driver) (heal func()) {
	was := d.rec.batch
	d.rec.batch = func(func(*store.Tx) error) error { return fault.Exhausted("no space is left") }
	return func() { d.rec.batch = was }
}

func TestLeaveOnAFullDiskTakesAllAway(t *testing.T) {
	h := newHost(t)
	n := h.network("a", "10.9.0.0/24", "10.9.0.1", nil)
	web := spec.Port{Proto: spec.TCP, Container: 80, HostPort: 18080, HostPortEnd: 18080}
	c := h.run(n, "1", "10.9.0.21", web)
	rules := func() string { t.Helper(); return sh(t, "nft list table inet mosbridge") }
	if !strings.Contains(rules(), "18080") || !h.reconcile(t.Context()) {
		t.Fatal("the port is not published from the beginning")
	}

	heal := fill(h.Driver)
	if err := h.leave(t.Context(), hexID("1")); !errdefs.IsResourceExhausted(err) {
		t.Errorf("got %v, want the store's error", err)
	}
	if r := rules(); strings.Contains(r, "18080") {
		t.Errorf("rules of the published port stay:\n%s", r)
	}
	if got := h.ovs.Vsctl("list-ports", n.Network.Bridge); strings.Contains(got, c.id.PortName()) {
		t.Errorf("the port stays: %s", got)
	}
	if h.reconcile(t.Context()) {
		t.Error("a repair that could not write the record came to its end")
	}
	if p, err := h.plan(t.Context()); err != nil || len(p) != 0 {
		t.Errorf("there is more to repair than the record: %v (%v)", p, err)
	}
	if err := h.deleteEndpoint(t.Context(), hexID("1")); !errdefs.IsResourceExhausted(err) {
		t.Errorf("delete: got %v, want the store's error", err)
	}

	heal()
	if !h.reconcile(t.Context()) {
		t.Error("the repair does not come to its end, though there is space again")
	}
	h.run(n, "2", "10.9.0.22", web) // the host's port is free for others
	if !strings.Contains(rules(), "10.9.0.22") {
		t.Error("the port is not published for the next container")
	}
	dir := h.cfg.StateDir
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	stored := h.open(dir).rec
	if e, ok := stored.endpoint(c.id); !ok || e.Joined || len(e.Bound) != 0 {
		t.Errorf("the store keeps %+v, %v", e, ok)
	}
}

func TestWhatCouldNotBeWrittenDoesNotComeBackFromTheDead(t *testing.T) {
	d := lonely(t, t.TempDir())
	n := seed(t, d, "a")
	e, err := d.createEndpoint(t.Context(), spec.EndpointRequest{ID: hexID("1"), Network: string(n.ID), IPv4: "10.9.0.21/24"})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := d.rec.endpoint(e.ID)
	heal := fill(d)
	if err := d.rec.putAnyway(r); err == nil {
		t.Fatal("a full store takes a write")
	}
	heal()
	if err := d.rec.dropEndpoint(e.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.rec.saveRest(); err != nil {
		t.Error(err)
	}
	if _, ok := d.rec.endpoint(e.ID); ok || len(d.rec.unsaved) != 0 {
		t.Errorf("a deleted endpoint is back (%v), or is still to be written: %v", ok, d.rec.unsaved)
	}
}
