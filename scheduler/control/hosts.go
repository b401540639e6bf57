package control

import (
	"context"
	"iter"
	"reflect"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

var _ link.Controller = (*Controller)(nil)

// Host is a host of the cluster, as the cache has it.
func (c *Controller) Host(_ context.Context, name string) (*api.Host, error) {
	if err := c.cache.lock(); err != nil {
		return nil, err
	}
	defer c.cache.mu.Unlock()
	h := c.cache.hosts[name]
	if h == nil {
		return nil, fault.NotFound("there is no host %s in this cluster: it has to join", name)
	}
	out := *h
	return &out, nil
}

// Join makes a host; any process does, whoever leads. The name of one that is lost goes to
// another machine if no set must be feared to run on both: each may by its policy, or the host
// is fenced. That is the leader's to say, whose sets are not behind.
func (c *Controller) Join(ctx context.Context, name string, status api.HostStatus) error {
	status.Health, status.Since, status.Blocks, status.TroubleSince = "", time.Time{}, nil, time.Time{}
	h := &api.Host{Meta: api.Meta{Name: name}, Status: status}
	if err := h.Check(); err != nil {
		return err
	}
	was, err := state.Get[api.Host](ctx, c.store, name)
	switch {
	case errdefs.IsNotFound(err):
		err = c.store.Create(ctx, h)
	case err != nil:
	case was.Status.Machine == status.Machine && was.Deleted.IsZero():
		return nil
	case !was.Deleted.IsZero():
		return fault.Conflict("host %s is being removed: join it when that is done", name)
	case was.Status.Health == api.Healthy || was.Status.Health == api.Suspect:
		return fault.Exists("host %s is live on another machine: take another name, or stop that one first", name)
	default:
		if _, err := c.leading(); err != nil {
			return err
		}
		if c.hears(name) {
			return fault.Exists("host %s is heard on another machine: take another name, or stop mosd there first", name)
		}
		if err := c.mayMove(was); err != nil {
			return err
		}
		h = was
		status.Blocks = h.Status.Blocks
		h.Status = status
		err = c.store.Update(ctx, h)
	}
	if err != nil {
		return err
	}
	return c.cache.until(ctx, h.Revision)
}

// hears says whether this process leads and hears a host, however that does.
func (c *Controller) hears(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lead == nil {
		return false
	}
	b := c.lead.beats[host]
	return b != nil && time.Since(b.at) <= c.Lease
}

// mayMove says whether a lost host's name may go to another machine.
func (c *Controller) mayMove(h *api.Host) error {
	if err := c.cache.lock(); err != nil {
		return err
	}
	defer c.cache.mu.Unlock()
	if left := c.cache.leftovers[h.Name]; len(left) > 0 && !h.Spec.Fenced {
		return fault.Conflict("host %s is lost, and may still have addresses of %d sets: fence the host first, or remove it", h.Name, len(left))
	}
	if len(h.Status.Blocks) > 0 && !h.Spec.Fenced {
		return fault.Conflict("host %s is lost, and may still have containers in block %s of network %s: fence the host first, or remove it", h.Name, h.Status.Blocks[0].Prefix, h.Status.Blocks[0].Network)
	}
	for _, s := range named(c.cache.onHost[h.Name]) {
		if !h.Spec.Fenced && (len(s.Spec.Addresses) > 0 || lossPolicy(c.cache.service(s.Spec.Service).Service, s.SetInstance) != api.Replace) {
			return fault.Conflict("host %s is lost, and its set %s must not run twice: fence the host first, or remove it", h.Name, s.Name)
		}
	}
	return nil
}

// Report takes what a host says, for the next pass to look at.
func (c *Controller) Report(ctx context.Context, r link.Report) (link.Lease, error) {
	h, err := c.Host(ctx, r.Host)
	if err != nil {
		return link.Lease{}, err
	}
	if h.Status.Machine != r.Status.Machine {
		return link.Lease{}, fault.Conflict("host %s is another machine: this one has to join by another name", r.Host)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lead
	if l == nil {
		return link.Lease{}, fault.Unavailable("this process does not lead: report to another controller")
	}
	lease := link.Lease{Epoch: l.epoch, TTL: config.Duration{Duration: c.Lease}, Heartbeat: config.Duration{Duration: c.Heartbeat}, Endpoints: l.endpoints}
	b := l.beats[r.Host]
	if b == nil {
		b = &beat{}
		l.beats[r.Host] = b
	} else if late(&b.report, &r) {
		return lease, nil
	}
	b.at = time.Now()
	if r.Status.Trouble == "" {
		b.stuck = time.Time{}
	} else if b.stuck.IsZero() {
		b.stuck = b.at
	}
	if r.Usage != nil {
		b.usage, r.Usage = r.Usage, nil
	}
	if r.Holding != nil {
		b.hold(r.Holding)
		r.Holding = nil
		l.fresh[r.Host] = true
		signal(l.news)
	}
	if !same(&b.report, &r) {
		l.fresh[r.Host] = true
		signal(l.news)
	}
	b.report = r
	return lease, nil
}

// hold takes what the host has for the next pass.
func (b *beat) hold(told *link.Holding) {
	if told.Kept && b.holding != nil {
		told = &link.Holding{Images: b.holding.Images, Kept: b.holding.Kept, Ports: told.Ports}
	}
	b.holding = told
}

// late says whether a report was overtaken by one that came before.
func late(had, r *link.Report) bool {
	return !r.Sent.After(had.Sent) && (r.Boot != had.Boot || r.Seq <= had.Seq)
}

func same(a, b *link.Report) bool {
	return a.Boot == b.Boot && a.Epoch == b.Epoch && a.Revision == b.Revision && slices.Equal(a.Sets, b.Sets) &&
		a.Guarded == b.Guarded && slices.Equal(a.Returned, b.Returned) &&
		reflect.DeepEqual(a.Status, b.Status)
}

// Assignments are those of a host, made of what the store is known to have.
func (c *Controller) Assignments(ctx context.Context, host string) iter.Seq2[link.Assignment, error] {
	return func(yield func(link.Assignment, error) bool) {
		l, err := c.leading()
		if err != nil {
			yield(link.Assignment{}, err)
			return
		}
		changed, end := c.cache.subscribe(host)
		defer end()
		var names *link.Names
		var told map[string]int64 // of the names
		var renames int64         // of the cluster, when the names were looked at
		every := namesEvery
		for {
			a, err := c.assignment(host, l.epoch)
			if err == nil {
				if names == nil {
					renames = c.cache.renames.Load()
					names, told = c.newNames(host, told)
				}
				if a.Names = names; names != nil {
					every = pace(names)
				}
			}
			if !yield(a, err) || err != nil {
				return
			}
			names = nil
			look := time.NewTicker(every)
			for over := false; !over; {
				select {
				case <-changed:
					over = true
				case <-look.C:
					// Sets that come to the host or leave it are a change of it.
					if now := c.cache.renames.Load(); now != renames {
						renames = now
						names, told = c.newNames(host, told)
						over = names != nil
					}
				case <-ctx.Done():
					look.Stop()
					return
				case <-l.over:
					look.Stop()
					yield(link.Assignment{}, fault.Unavailable("this process does not lead any more: ask another controller"))
					return
				}
			}
			look.Stop()
		}
	}
}

func (c *Controller) assignment(host string, epoch int64) (link.Assignment, error) {
	if err := c.cache.lock(); err != nil {
		return link.Assignment{}, err
	}
	defer c.cache.mu.Unlock()
	if c.cache.hosts[host] == nil {
		return link.Assignment{}, fault.NotFound("there is no host %s in this cluster: it has to join", host)
	}
	a := link.Assignment{Host: host, Epoch: epoch, Revision: c.cache.revision, Networks: c.cache.gives(host)}
	for _, s := range named(c.cache.onHost[host]) {
		a.Sets = append(a.Sets, link.Assigned{
			Name: s.Name, UID: s.UID, Service: s.Spec.Service,
			Generation: s.Spec.ServiceGeneration, Set: addressed(s.SetInstance), Stop: stops(s.SetInstance),
		})
	}
	for _, l := range named(c.cache.leftovers[host]) {
		a.Sets = append(a.Sets, link.Assigned{Name: l.Spec.Set, UID: l.Spec.SetUID, Service: l.Spec.Service, Stop: true})
	}
	return a, nil
}
