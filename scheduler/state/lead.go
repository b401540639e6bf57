package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Member is this process among those that share the store, as long as its lease lives.
type Member struct {
	store   *Store
	name    string
	session *concurrency.Session
	cancel  context.CancelFunc
}

// Join makes this process a member under a name that none has. Its lease ends ttl after
// the process did (in whole seconds; etcd makes it 2 s at least), which others see by
// [Store.Watch] of [Members]. Leave it, or end ctx, which lets the lease expire. Others are
// told at which endpoints it is reached.
func (s *Store) Join(ctx context.Context, name string, ttl time.Duration, endpoints ...string) (*Member, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || ttl < time.Second {
		return nil, fault.Invalid("join as %q for %s: it needs a name without slashes, and a second at least", name, ttl)
	}
	short, done := context.WithTimeout(ctx, s.timeout)
	defer done()
	lease, err := s.etcd.Grant(short, int64(ttl/time.Second))
	if err != nil {
		return nil, explain(err, "join as %s", name)
	}
	long, cancel := context.WithCancel(ctx)
	session, err := concurrency.NewSession(s.etcd, concurrency.WithLease(lease.ID), concurrency.WithContext(long))
	if err != nil {
		cancel()
		return nil, explain(err, "join as %s", name)
	}
	m := &Member{store: s, name: name, session: session, cancel: cancel}
	key, at := s.keys.resource(Members, name), ""
	if len(endpoints) > 0 {
		b, _ := json.Marshal(endpoints) // of strings, which cannot fail
		at = string(b)
	}
	r, err := s.etcd.Txn(short).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, at, clientv3.WithLease(lease.ID))).Commit()
	switch {
	case err != nil:
		err = explain(err, "join as %s", name)
	case !r.Succeeded:
		err = fault.Exists("there is a member named %s: it is another process, or this one before it was ended %s ago or less", name, ttl)
	default:
		return m, nil
	}
	_ = m.Leave(context.WithoutCancel(ctx)) // its own error is the lease's, which expires
	return nil, err
}

// Lost is closed when the lease could not be kept alive, or the member left.
func (m *Member) Lost() <-chan struct{} { return m.session.Done() }

// Leave ends the lease at once, and with it a term. It may be repeated.
func (m *Member) Leave(ctx context.Context) error {
	m.session.Orphan()
	m.cancel()
	ctx, cancel := context.WithTimeout(ctx, m.store.timeout)
	defer cancel()
	_, err := m.store.etcd.Revoke(ctx, m.session.Lease())
	if errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return explain(err, "leave as %s", m.name)
}

// Term is the time for which a member leads.
type Term struct {
	// Epoch is larger than those of all terms before.
	Epoch int64

	key    string
	member *Member
}

// Lead waits until this member leads. A member leads once at a time.
func (m *Member) Lead(ctx context.Context) (*Term, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // ends with this call
		select {
		case <-m.Lost():
			cancel()
		case <-stop:
		}
	}()
	e := concurrency.NewElection(m.session, m.store.keys.prefix+candidates)
	err := e.Campaign(ctx, m.name)
	select {
	case <-m.Lost():
		return nil, fault.Unavailable("lead as %s: the lease of this member ended", m.name)
	default:
	}
	if err != nil {
		return nil, explain(err, "lead as %s", m.name)
	}
	return &Term{Epoch: e.Rev(), key: e.Key(), member: m}, nil
}

// Lost is closed when the member's lease could not be kept alive. A term may end before:
// what counts is that its batches fail.
func (t *Term) Lost() <-chan struct{} { return t.member.Lost() }

// Resign ends the term; the member stays one.
func (t *Term) Resign(ctx context.Context) error {
	s := t.member.store
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	g := t.guard()
	_, err := s.etcd.Txn(ctx).If(g.cmp).Then(clientv3.OpDelete(t.key)).Commit()
	return explain(err, "resign as %s", t.member.name)
}

func (t *Term) guard() guard {
	return guard{
		key: t.key, want: t.Epoch, cmp: clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.Epoch),
		broken: func(kv *mvccpb.KeyValue) error {
			if kv == nil || kv.CreateRevision != t.Epoch {
				return ErrDeposed
			}
			return nil
		},
	}
}

// Leader is the name of who leads, and the epoch; NotFound if nobody does.
func (s *Store) Leader(ctx context.Context) (name string, epoch int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.etcd.Get(ctx, s.keys.prefix+candidates+"/", clientv3.WithFirstCreate()...)
	switch {
	case err != nil:
		return "", 0, explain(err, "look who leads")
	case len(r.Kvs) == 0:
		return "", 0, fault.NotFound("nobody leads")
	}
	return string(r.Kvs[0].Value), r.Kvs[0].CreateRevision, nil
}

// Process is a member as others see it.
type Process struct {
	Name      string
	Endpoints []string // at which it is reached, if it told any
}

// Members are those that are there, and the revision to watch after.
func (s *Store) Members(ctx context.Context) ([]Process, int64, error) {
	var all []Process
	revision, _, err := s.list(ctx, s.keys.kind(Members), Page{}, func(kv *mvccpb.KeyValue) error {
		var p Process
		_, p.Name = s.keys.split(string(kv.Key))
		if len(kv.Value) > 0 {
			if err := json.Unmarshal(kv.Value, &p.Endpoints); err != nil {
				return fmt.Errorf("endpoints of %s: %w", p.Name, err)
			}
		}
		all = append(all, p)
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("look who is there: %w", err)
	}
	return all, revision, nil
}
