package mosbridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/internal/drivername"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/plan"
)

// retry is how soon a repair that failed is tried again the first time.
const retry = time.Second

// Run keeps the host as the record wishes until ctx ends: it repairs at once,
// every interval, and whenever a bridge came back or the host's rules were
// changed by others; and it collects what Docker no longer knows.
func (d *Driver) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work.Go(func() {
		if err := d.fab.fw.Watch(ctx, d.Nudge); err != nil {
			d.log.WarnContext(ctx, "changes of the host's rules are seen by the timer only", "err", err)
		}
	})
	watched := map[string]context.CancelFunc{}
	tick := time.NewTicker(d.cfg.Interval.Duration)
	defer tick.Stop()
	for pause := retry; ; {
		d.watchBridges(ctx, &work, watched)
		again := time.NewTimer(pause)
		pause = min(2*pause, d.cfg.Interval.Duration)
		if d.reconcile(ctx) {
			again.Stop()
			pause = retry
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-again.C:
		case <-d.nudge:
		}
		again.Stop()
	}
}

// watchBridges watches each bridge that has a network, and no other.
func (d *Driver) watchBridges(ctx context.Context, work *sync.WaitGroup, watched map[string]context.CancelFunc) {
	names := d.bridgeNames()
	for name, stop := range watched {
		if !slices.Contains(names, name) {
			stop()
			delete(watched, name)
		}
	}
	for _, name := range names {
		if watched[name] == nil {
			one, stop := context.WithCancel(ctx)
			watched[name] = stop
			work.Go(func() { d.watch(one, name) })
		}
	}
}

// Nudge asks for a repair soon; many requests at once make one repair.
func (d *Driver) Nudge() {
	select {
	case d.nudge <- struct{}{}:
	default:
	}
}

// watch follows one bridge. Open vSwitch forgets flows and meters when it
// restarts, so they are replayed the moment it is back.
func (d *Driver) watch(ctx context.Context, bridge string) {
	err := d.fab.ovs.WatchBridge(ctx, bridge, func(e ovs.Event) {
		switch {
		case !e.Up && !slices.Contains(d.bridgeNames(), bridge): // deleted by us
		case !e.Up:
			d.log.WarnContext(ctx, "open vswitch does not serve the bridge", "bridge", bridge)
			d.lose(ctx, bridge)
		case !e.First:
			d.log.InfoContext(ctx, "open vswitch serves the bridge again", "bridge", bridge)
			d.revive(ctx, bridge)
		}
	})
	if ctx.Err() == nil {
		d.log.ErrorContext(ctx, "bridge is not watched", "bridge", bridge, "err", err)
	}
}

// lose makes the next start of an ovs-vswitchd that is gone wait, also where it
// was killed while its wait was being ended: it would drop what the kernel passes.
func (d *Driver) lose(ctx context.Context, bridge string) {
	d.fab.forgetRuntime(bridge)
	ctx, cancel := context.WithTimeout(ctx, time.Second) // it may be back before the database is
	defer cancel()
	if d.cfg.RestoreWait {
		_, _ = d.fab.ovs.ArmRestoreWait(ctx) // the repair tries again
	}
}

// revive replays a bridge at once, since until then it forwards nothing new,
// and leaves the rest to a repair.
func (d *Driver) revive(ctx context.Context, bridge string) {
	d.fab.forgetRuntime(bridge)
	d.waiting.Store(true)
	ctx, cancel := context.WithTimeout(ctx, d.cfg.RepairLimit.Duration)
	defer cancel()
	leave := d.busy.read()
	err := d.fab.replay(ctx, bridge)
	leave()
	if err != nil {
		d.log.WarnContext(ctx, "flows are not replayed yet", "bridge", bridge, "err", err)
	} else if len(d.bridgeNames()) == 1 && d.waiting.Swap(false) {
		// With several, another's may be known to be gone a moment later only.
		d.restoreWait(ctx, true)
	}
	d.Nudge()
}

// forgetRuntime drops what a restart of Open vSwitch may have changed.
func (f *fabric) forgetRuntime(name string) {
	b := f.bridge(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known, b.stale = false, true
}

// reconcile compares and repairs once. Looking costs the calls nothing; only
// when something must change are they kept out, and the look repeated, so that
// a repair never meets a half-done call. It says whether it came to its end.
func (d *Driver) reconcile(ctx context.Context) (well bool) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.RepairLimit.Duration)
	defer cancel()
	start := time.Now()
	// Read before the look: a start of Open vSwitch during the repair is the
	// next repair's to end the wait of.
	due := d.waiting.Swap(false)
	p, err := d.plan(ctx)
	if err == nil && len(p) > 0 {
		err = d.repair(ctx)
	}
	err = errors.Join(err, d.rec.saveRest())
	d.noteRepair(start, len(p), err)
	// Flows decide, not the repair as a whole: one fault somewhere must not
	// keep all of the host's bridges waiting.
	d.restoreWait(ctx, due)
	d.collect(ctx)
	if err != nil && ctx.Err() == nil {
		d.log.WarnContext(ctx, "repair did not come to its end", "err", err)
	}
	return err == nil
}

// plan is what a repair would do at this moment.
func (d *Driver) plan(ctx context.Context) (plan.Plan, error) {
	o, err := d.fab.observe(ctx)
	if err != nil {
		return nil, err
	}
	p := plan.Repair(d.rec.wanted(), o)
	if len(d.rec.allNetworks()) == 0 && destroys(p) {
		return p, d.mayDestroy(ctx)
	}
	return p, nil
}

// destroys says whether a plan takes a bridge of ours away.
func destroys(p plan.Plan) bool {
	return slices.ContainsFunc(p, func(s plan.Step) bool { return s.Op == plan.DeleteBridge })
}

// mayDestroy guards against an empty record where there was one: a state
// directory that is not mounted must not cost the containers their network.
// Bridges of ours go only when Docker says that it has no network on them.
func (d *Driver) mayDestroy(ctx context.Context) error {
	k, err := d.ask(ctx)
	if err != nil {
		return fmt.Errorf("the record is empty but bridges of ours exist, and nobody says whether they are in use: start docker: %w", err)
	}
	for _, n := range k.networks {
		if drivername.Is(n.Driver, Name) {
			return fault.Conflict("the record in %s is empty, but docker has network %s of mosbridge: is the right directory mounted? If the record is lost, remove the network and create it again", d.cfg.StateDir, n.Name)
		}
	}
	return nil
}

func (d *Driver) repair(ctx context.Context) error {
	defer d.busy.write()()
	p, err := d.plan(ctx)
	if err != nil {
		return err
	}
	for _, s := range p {
		d.log.InfoContext(ctx, "repair", "op", string(s.Op), "object", s.Object, "bridge", s.Bridge, "cause", s.Cause)
	}
	return d.fab.runAll(ctx, p)
}

// restoreWait lets an ovs-vswitchd that started go on once the flows of all
// bridges are in, and makes its next start wait again. Where bridges of others
// would have to wait too, it takes the mark away.
func (d *Driver) restoreWait(ctx context.Context, due bool) {
	if !d.cfg.RestoreWait {
		return
	}
	if !due {
		d.armRestoreWait(ctx)
		return
	}
	err := fault.Conflict("not all bridges have their flows")
	if d.fab.played(d.bridgeNames()) {
		err = d.fab.ovs.ReleaseRestoreWait(ctx)
	} else {
		d.armRestoreWait(ctx) // a release may have been cut off by a kill of Open vSwitch
	}
	if err != nil {
		d.waiting.Store(true)
		d.log.DebugContext(ctx, "open vswitch may still wait for its flows", "err", err)
	}
}

func (d *Driver) armRestoreWait(ctx context.Context) {
	armed, err := d.fab.ovs.ArmRestoreWait(ctx)
	if err == nil && !armed {
		err = d.fab.ovs.DisarmRestoreWait(ctx)
	}
	if err != nil {
		d.log.DebugContext(ctx, "open vswitch was not told whether to wait at its start", "err", err)
	}
}
