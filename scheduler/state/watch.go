package state

import (
	"context"
	"errors"
	"iter"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// Step is what changed, in the order of revisions. All changes of one revision are in one
// step. A step without changes says only how far history was read.
type Step struct {
	Revision int64 // to watch after, to go on from here
	Changes  []Change
}

// Change is one key that was written, or is gone.
type Change struct {
	Kind     api.Kind
	Name     string // of the resource or member
	Revision int64
	Gone     bool
	New      bool         // it was not there before
	Resource api.Resource // where it is one, and not gone
	Held     *Held        // of claims; gone, it has the thing only
}

// Watch gives what changed after a revision, of the kinds named or of all. It goes on
// until ctx ends or the caller does. An error ends it: after a [GoneError] list again;
// after one of class Unavailable watch after the last step. Resources share what their templates
// have; see [api.Codec].
func (s *Store) Watch(ctx context.Context, after int64, kinds ...api.Kind) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		if after <= 0 {
			yield(Step{}, fault.Invalid("watch after revision %d: list first, and watch after its revision", after))
			return
		}
		// Without a leader a member of etcd would keep silent for ever.
		ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		defer cancel()
		prefix := s.keys.all()
		if len(kinds) == 1 {
			prefix = s.keys.kind(kinds[0])
		}
		codec := api.NewCodec()
		for r := range s.etcd.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1),
			clientv3.WithProgressNotify(), clientv3.WithCreatedNotify()) {
			step, err := s.step(ctx, r, after, kinds, codec)
			if err != nil {
				yield(Step{}, err)
				return
			}
			if step.Revision <= after {
				continue
			}
			if after = step.Revision; !yield(step, nil) {
				return
			}
		}
		if ctx.Err() == nil {
			yield(Step{}, fault.Unavailable("the watch ended: watch after revision %d again", after))
		}
	}
}

func (s *Store) step(ctx context.Context, r clientv3.WatchResponse, after int64, kinds []api.Kind, codec *api.Codec) (Step, error) {
	switch known := rpctypes.Error(r.Err()); {
	case r.CompactRevision > 0, errors.Is(known, rpctypes.ErrCompacted):
		return Step{}, &GoneError{after, r.CompactRevision}
	case known != nil:
		return Step{}, explain(r.Err(), "watch after revision %d", after)
	case r.Created && r.Header.Revision < after:
		return Step{}, s.ahead(ctx, after)
	case r.IsProgressNotify():
		return Step{Revision: r.Header.Revision}, nil
	case len(r.Events) == 0:
		return Step{}, nil
	}
	step := Step{Revision: r.Events[len(r.Events)-1].Kv.ModRevision}
	for _, e := range r.Events {
		if e.Kv.ModRevision <= after {
			continue // the client asks for it twice after it was connected again
		}
		c, err := s.change(e, codec)
		if err != nil {
			return Step{}, err
		}
		if c.Kind != "" && (len(kinds) == 0 || slices.Contains(kinds, c.Kind)) {
			step.Changes = append(step.Changes, c)
		}
	}
	return step, nil
}

// ahead says whether a revision is one that the store has not reached, as after a backup
// was restored: a watch of it would be silent until then. One member of etcd may only be
// behind the others.
func (s *Store) ahead(ctx context.Context, after int64) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.etcd.Get(ctx, s.keys.schema(), clientv3.WithKeysOnly())
	switch {
	case err != nil:
		return explain(err, "look at the store's revision")
	case r.Header.Revision < after:
		return &GoneError{Asked: after}
	}
	return nil
}

// change reads an event. Kinds that it does not know are of a later version, or of no
// use to others; they have no Kind.
func (s *Store) change(e *clientv3.Event, codec *api.Codec) (Change, error) {
	kind, name := s.keys.split(string(e.Kv.Key))
	c := Change{Kind: kind, Name: name, Revision: e.Kv.ModRevision, Gone: e.Type == clientv3.EventTypeDelete, New: e.IsCreate()}
	var err error
	if kind == Claims {
		c.Held, err = s.heldOrGone(e.Kv, c.Gone)
		return c, err
	}
	r := blank(kind)
	switch {
	case r == nil && kind != Members:
		return Change{}, nil
	case r == nil || c.Gone:
		return c, nil
	}
	c.Resource = r
	return c, stored(e.Kv, r, codec.Stored)
}

func (s *Store) heldOrGone(kv *mvccpb.KeyValue, gone bool) (*Held, error) {
	if !gone {
		return s.held(kv)
	}
	_, name := s.keys.split(string(kv.Key))
	t, err := thing(name)
	return &Held{Thing: t, Revision: kv.ModRevision}, err
}

// blank is an empty resource of a kind, nil for one that is not known.
func blank(kind api.Kind) api.Resource {
	switch kind {
	case api.Hosts:
		return &api.Host{}
	case api.Services:
		return &api.Service{}
	case api.SetInstances:
		return &api.SetInstance{}
	case api.Operations:
		return &api.Operation{}
	case api.Events:
		return &api.Event{}
	case api.Tokens:
		return &api.Token{}
	case api.Networks:
		return &api.Network{}
	case api.Leftovers:
		return &api.Leftover{}
	case api.Quotas:
		return &api.Quota{}
	case api.Revocations:
		return &api.Revocation{}
	}
	return nil
}
