package mosbridge

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
)

// audit is the leak check: what a repair would change, and what the record
// holds that Docker does not know. A look that cannot be had is a finding too.
func (d *Driver) audit(ctx context.Context) api.Audit {
	out := api.Audit{Findings: []api.Finding{}}
	add := func(kind, object, detail, hint string) {
		out.Findings = append(out.Findings, api.Finding{Kind: kind, Object: object, Detail: detail, Hint: hint})
	}
	p, err := d.plan(ctx)
	switch {
	case errdefs.IsUnavailable(err):
		add("host", "open vswitch", err.Error()+"; until then nothing on this host is compared with the record", "start it: the repair follows by itself")
	case err != nil:
		add("host", "record", err.Error(), "docker mos net doctor")
	}
	for _, s := range p {
		add(string(s.Op), s.Object, s.Cause, "the next repair does this; docker mos net plan shows it")
	}
	before := time.Now()
	k, err := d.ask(ctx)
	if err != nil {
		add("host", "docker", err.Error(), "start docker: without it nobody knows what is left over")
		return out
	}
	for _, f := range d.strangers(k, before) {
		if f.Kind == keptKind {
			continue // set aside for its container, in nobody's way; it ends by itself
		}
		add(f.Kind, f.Object, f.Detail, "collected after "+d.cfg.Grace.String()+"; at once by docker mos net gc")
	}
	return out
}

// keptKind is the kind of an address that is kept for a container that is gone.
const keptKind = "kept lease"

// strangers are the objects of the record that Docker does not know, but for
// those made after before, of which it was asked too early.
func (d *Driver) strangers(k known, before time.Time) []api.Finding {
	var out []api.Finding
	for _, e := range d.rec.allEndpoints() {
		if _, ok := k.endpoints[string(e.Endpoint.ID)]; !ok && e.Created.Before(before) {
			out = append(out, api.Finding{Kind: "endpoint", Object: string(e.Endpoint.ID), Detail: "docker does not know it"})
		}
	}
	for _, n := range d.rec.allNetworks() {
		if _, ok := k.networks[string(n.Network.ID)]; !ok && n.Created.Before(before) {
			out = append(out, api.Finding{Kind: "network", Object: string(n.Network.ID), Detail: "docker does not know it"})
		}
	}
	for _, l := range d.addrs.Unknown(func(l ipam.Lease) bool { return l.Since.After(before) || d.excused(l, k) }) {
		kind := "lease"
		if l.State == ipam.Kept {
			kind = keptKind
		}
		out = append(out, api.Finding{Kind: kind, Object: l.Addr.String(), Detail: l.String()})
	}
	return out
}

// holds says whether an endpoint of the record has the lease's address.
func (d *Driver) holds(l ipam.Lease) bool {
	for _, e := range d.rec.allEndpoints() {
		if slices.Contains(e.Endpoint.Addrs(), l.Addr) {
			return true
		}
	}
	return false
}

// gc collects at once what Docker does not know, on an operator's word instead
// of a second look.
func (d *Driver) gc(ctx context.Context, r api.GCRequest) (api.GC, error) {
	// What is younger may belong to a container that starts at this moment.
	before := time.Now().Add(-ipam.Repeat)
	k, err := d.ask(ctx)
	if err != nil {
		return api.GC{}, err
	}
	out := api.GC{Objects: append([]api.Finding{}, d.strangers(k, before)...)}
	knownPool := func(p ipam.Pool) bool { return p.Since.After(before) || d.poolExcused(p, k) }
	for _, p := range d.addrs.Pools() {
		if !knownPool(p) {
			out.Objects = append(out.Objects, api.Finding{Kind: "pool", Object: string(p.ID()), Detail: "no network has it"})
		}
	}
	if r.DryRun {
		return out, nil
	}
	for _, f := range out.Objects {
		if f.Kind == "endpoint" || f.Kind == "network" {
			d.drop(ctx, f.Object)
		}
	}
	for range 2 { // mark, then take
		if _, err := d.addrs.Collect(time.Now(), 0, func(l ipam.Lease) bool { return l.Since.After(before) || d.excused(l, k) }); err != nil {
			return out, err
		}
		if _, err := d.addrs.CollectPools(time.Now(), 0, knownPool); err != nil {
			return out, err
		}
	}
	return out, nil
}

// doctor asks the questions that explain most troubles.
func (d *Driver) doctor(ctx context.Context) api.Doctor {
	var out api.Doctor
	add := func(name string, err error, detail, hint string) {
		c := api.Check{Name: name, OK: err == nil, Detail: detail}
		if err != nil {
			c.Detail, c.Hint = err.Error(), hint
		}
		out.Checks = append(out.Checks, c)
	}
	info, err := d.fab.ovs.Info(ctx)
	add("open vswitch answers", err, "version "+info.Version, "systemctl start openvswitch-switch, or make up")
	v, verr := d.engine.Version(ctx)
	add("docker answers", verr, "version "+v.Engine, "start docker; the driver works without it, but cannot learn names or collect leftovers")
	_, serr := os.Stat(d.cfg.Socket)
	add("plugin socket is there", serr, d.cfg.Socket, "restart mosbridge")
	add("nobody rejects what our gateways forward", d.obstacles(ctx), "no chain of others stops all that it does not know", "let the gateways pass there: firewall-cmd --permanent --zone=trusted --add-interface=LINK and --reload, or accept iifname and oifname \"mosg*\"")
	add("ipv4 forwarding", forwarding(), "net.ipv4.ip_forward=1", "it is switched on with the first network that has a gateway on this host")
	if err != nil {
		return out
	}
	bridges, err := d.fab.ovs.Bridges(ctx)
	add("bridges can be listed", err, "", "see the daemon's log")
	for _, b := range bridges {
		if b.Ours {
			name, reason := explainDatapath(b.Datapath, info)
			add("datapath of "+b.Name, tsoAdvice(b.Datapath, info), name+": "+reason, "set other_config:userspace-tso-enable=true in Open_vSwitch and restart ovs-vswitchd: TCP becomes several times as fast")
		}
	}
	p, err := d.plan(ctx)
	add("the host can be observed", err, "", "see the daemon's log")
	if err == nil {
		add("the host is as the record wishes", planFault(p.String()), "nothing to repair", "docker mos net plan; the daemon repairs by itself")
	}
	return out
}

// obstacles finds fault with the forwarding rules of others.
func (d *Driver) obstacles(ctx context.Context) error {
	found, err := d.fab.fw.Obstacles(ctx, firewallState(d.rec.allNetworks(), nil))
	if err == nil && len(found) > 0 {
		err = fault.Conflict("%s", strings.Join(found, "; "))
	}
	return err
}

func forwarding() error {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err == nil && strings.TrimSpace(string(b)) != "1" {
		err = fault.Conflict("net.ipv4.ip_forward is 0")
	}
	return err
}

// tsoAdvice finds fault with a userspace bridge that is slower than it need be.
func tsoAdvice(dp ovs.Datapath, info ovs.Info) error {
	if dp == ovs.Userspace && !info.TSO {
		return fault.Conflict("userspace datapath without segmentation offload: TCP works, slowly")
	}
	return nil
}

func planFault(p string) error {
	if p == "" {
		return nil
	}
	return fault.Conflict("%s", strings.TrimSpace(p))
}
