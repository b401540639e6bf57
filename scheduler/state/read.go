package state

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// resource is *T, which is a resource.
type resource[T any] interface {
	*T
	api.Resource
}

// Create stores a resource: see [Batch.Create].
func (s *Store) Create(ctx context.Context, r api.Resource) error {
	b := s.Batch(nil)
	b.Create(r)
	_, err := b.Commit(ctx)
	return err
}

// Update stores a changed resource: see [Batch.Update].
func (s *Store) Update(ctx context.Context, r api.Resource) error {
	b := s.Batch(nil)
	b.Update(r)
	_, err := b.Commit(ctx)
	return err
}

// Delete takes a resource away: see [Batch.Delete].
func (s *Store) Delete(ctx context.Context, r api.Resource) error {
	b := s.Batch(nil)
	b.Delete(r)
	_, err := b.Commit(ctx)
	return err
}

// Get reads a resource: Get[api.Host](ctx, s, "h1").
func Get[T any, R resource[T]](ctx context.Context, s *Store, name string) (R, error) {
	r := R(new(T))
	r.Head().Name = name
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	got, err := s.etcd.Get(ctx, s.keys.resource(r.Kind(), name))
	if err != nil {
		return nil, explain(err, "read %s", title(r))
	}
	if len(got.Kvs) == 0 {
		return nil, fault.NotFound("%s is not there", title(r))
	}
	return r, stored(got.Kvs[0], r, api.Stored)
}

func stored(kv *mvccpb.KeyValue, r api.Resource, read func([]byte, api.Resource) error) error {
	if err := read(kv.Value, r); err != nil {
		return fmt.Errorf("%s: %w", kv.Key, err)
	}
	r.Head().Revision = kv.ModRevision
	return nil
}

// Edit changes a resource, again from the start if somebody else did so meanwhile; change
// gets what is stored, and its error ends it. Name, UID and Created stay; Generation is
// raised if Spec changed. What changed nothing is not written.
func Edit[T any, R resource[T]](ctx context.Context, s *Store, name string, change func(R) error) (R, error) {
	for {
		r, err := Get[T, R](ctx, s, name)
		if err != nil {
			return nil, err
		}
		before, err := encode(r, api.Encode)
		if err != nil {
			return nil, err
		}
		was := *r.Head()
		if err := change(r); err != nil {
			return nil, err
		}
		head := r.Head()
		head.Name, head.UID, head.Created, head.Revision, head.Generation = was.Name, was.UID, was.Created, was.Revision, was.Generation
		after, err := encode(r, api.Encode)
		if err != nil || string(after) == string(before) {
			return r, err
		}
		if changed, err := specChanged(before, after); err != nil {
			return nil, err
		} else if changed {
			head.Generation++
		}
		var stale *staleError
		if err = s.Update(ctx, r); err == nil || !errors.As(err, &stale) {
			return r, err
		}
	}
}

func specChanged(before, after []byte) (bool, error) {
	type part struct {
		Spec jsontext.Value `json:"spec"`
	}
	var was, is part
	err := errors.Join(json.Unmarshal(before, &was), json.Unmarshal(after, &is))
	return string(was.Spec) != string(is.Spec), err
}

// Page says which part of a list is wanted. The zero value is all of it as it is now.
type Page struct {
	Limit int    // items at most; 0 for all
	More  string // of the page before
	At    int64  // revision; 0 for now. More has one, too.
}

// List is resources of a kind, or one page of them, ordered by name.
type List[T any] struct {
	Items    []*T
	Revision int64  // at which they were so, to watch after
	More     string // of the next page; empty for none
}

// All reads resources of a kind: All[api.Host](ctx, s, Page{}). A page of a revision that
// was compacted meanwhile gives a [GoneError]. Items share what their templates have; see [api.Codec].
func All[T any, R resource[T]](ctx context.Context, s *Store, p Page) (List[T], error) {
	var l List[T]
	kind := R(new(T)).Kind()
	codec := api.NewCodec()
	var err error
	l.Revision, l.More, err = s.list(ctx, s.keys.kind(kind), p, func(kv *mvccpb.KeyValue) error {
		r := new(T)
		l.Items = append(l.Items, r)
		return stored(kv, R(r), codec.Stored)
	})
	return l, err
}

// Held is a claim.
type Held struct {
	Thing    Thing
	By       Holder
	Revision int64
}

// Holders reads claims, ordered by their keys; of one class only, or also within one
// place only, where these are not empty.
func (s *Store) Holders(ctx context.Context, class, within string, p Page) (List[Held], error) {
	prefix := s.keys.kind(Claims)
	switch {
	case within != "":
		prefix = s.keys.things(class, within)
	case class != "":
		prefix += class + "/"
	}
	var l List[Held]
	var err error
	l.Revision, l.More, err = s.list(ctx, prefix, p, func(kv *mvccpb.KeyValue) error {
		h, err := s.held(kv)
		l.Items = append(l.Items, h)
		return err
	})
	return l, err
}

func (s *Store) held(kv *mvccpb.KeyValue) (*Held, error) {
	h := &Held{Revision: kv.ModRevision}
	_, name := s.keys.split(string(kv.Key))
	var err error
	if h.Thing, err = thing(name); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(kv.Value, &h.By); err != nil {
		return nil, fmt.Errorf("read who holds %s: %w", h.Thing, err)
	}
	return h, nil
}

// mostList bounds one answer of etcd: with large resources it holds some 10 MiB.
const mostList = 5000

// next is where a list goes on.
type next struct {
	Revision int64  `json:"r"`
	After    string `json:"a"`
}

// list gives each key below a prefix, in order, at one revision.
func (s *Store) list(ctx context.Context, prefix string, p Page, each func(*mvccpb.KeyValue) error) (int64, string, error) {
	at := next{p.At, ""}
	if p.More != "" {
		data, err := base64.RawURLEncoding.DecodeString(p.More)
		if err == nil {
			err = json.Unmarshal(data, &at)
		}
		if err != nil || at.Revision <= 0 || !strings.HasPrefix(at.After, prefix) {
			return 0, "", fault.Invalid("the page asked for does not follow from this list: list from the start")
		}
	}
	from := prefix
	if at.After != "" {
		from = at.After + "\x00"
	}
	for left := p.Limit; ; {
		limit := mostList
		if p.Limit > 0 {
			limit = min(limit, left)
		}
		r, err := s.part(ctx, from, prefix, at.Revision, limit)
		if err != nil {
			return 0, "", err
		}
		if at.Revision == 0 {
			at.Revision = r.Header.Revision
		}
		for _, kv := range r.Kvs {
			if err := each(kv); err != nil {
				return 0, "", err
			}
			at.After = string(kv.Key)
		}
		left -= len(r.Kvs)
		switch {
		case !r.More:
			return at.Revision, "", nil
		case p.Limit > 0 && left == 0:
			data, err := json.Marshal(at)
			return at.Revision, base64.RawURLEncoding.EncodeToString(data), err
		}
		from = at.After + "\x00"
	}
}

func (s *Store) part(ctx context.Context, from, prefix string, revision int64, limit int) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.etcd.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)),
		clientv3.WithLimit(int64(limit)), clientv3.WithRev(revision))
	switch known := rpctypes.Error(err); {
	case errors.Is(known, rpctypes.ErrCompacted), errors.Is(known, rpctypes.ErrFutureRev):
		return nil, &GoneError{Asked: revision}
	case err != nil:
		return nil, explain(err, "list %s", prefix)
	}
	return r, nil
}
