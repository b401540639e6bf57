package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// Bounds of one resource, and of one batch, in bytes. etcd takes 1.5 MiB in a request.
const (
	mostResource = 256 << 10
	mostBatch    = 1 << 20
)

// Holder is who holds a claim: a set, by name and UID.
type Holder struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// guard is one condition of a batch. broken gives the reason why it does not hold for
// what is stored at its key (nil for nothing), and agrees with cmp.
type guard struct {
	key    string
	want   int64 // with key, tells conditions apart that change nothing
	cmp    clientv3.Cmp
	values bool // broken looks at the value
	broken func(*mvccpb.KeyValue) error
}

// Batch is changes that happen all together or not at all. Make it by [Store.Batch], add to
// it, give it to [Batch.Commit] once. Templates of what was added are not changed in place before.
type Batch struct {
	store   *Store
	guards  []guard
	ops     []clientv3.Op
	touched []string // keys of ops
	size    int
	written []api.Resource
	codec   *api.Codec // from the first resource written to the commit
	err     error
}

// codecs are those that no batch has.
var codecs = sync.Pool{New: func() any { return api.NewCodec() }} //nolint:gochecknoglobals // a pool

// Batch begins a batch. Under a term it is written only while that term goes on.
func (s *Store) Batch(under *Term) *Batch {
	b := &Batch{store: s}
	if under != nil {
		b.guards = append(b.guards, under.guard())
	}
	return b
}

// Create adds a resource. It gets a UID, a time and generation 1 where it has none.
func (b *Batch) Create(r api.Resource) {
	head := r.Head()
	if head.Revision != 0 {
		b.fail(fault.Invalid("%s has a revision, so it is stored already", title(r)))
		return
	}
	if head.UID == "" {
		id, err := uuid.NewV7()
		b.fail(err)
		head.UID = id.String()
	}
	if head.Created.IsZero() {
		head.Created = b.store.now().UTC().Round(0)
	}
	head.Generation = max(head.Generation, 1)
	b.put(r, func(key string) guard {
		return guard{
			key: key, cmp: clientv3.Compare(clientv3.CreateRevision(key), "=", 0),
			broken: func(kv *mvccpb.KeyValue) error {
				if kv != nil {
					return fault.Exists("%s is there already", title(r))
				}
				return nil
			},
		}
	})
}

// Update writes a resource, which must be of the revision that is stored.
func (b *Batch) Update(r api.Resource) {
	b.put(r, func(string) guard { return b.same(r) })
}

// Delete takes a resource away, which must be of the revision that is stored.
func (b *Batch) Delete(r api.Resource) {
	key, err := b.key(r)
	if err != nil {
		b.fail(err)
		return
	}
	b.add(b.same(r), clientv3.OpDelete(key), len(key))
}

// Require makes the batch depend on a resource that it does not change.
func (b *Batch) Require(r api.Resource) {
	if _, err := b.key(r); err != nil {
		b.fail(err)
		return
	}
	b.guards = append(b.guards, b.same(r))
}

// same holds while a resource is as it was read.
func (b *Batch) same(r api.Resource) guard {
	key, revision := b.store.keys.resource(r.Kind(), r.Head().Name), r.Head().Revision
	if revision <= 0 {
		b.fail(fault.Invalid("%s has no revision: read it first", title(r)))
	}
	return guard{
		key: key, want: revision, cmp: clientv3.Compare(clientv3.ModRevision(key), "=", revision),
		broken: func(kv *mvccpb.KeyValue) error {
			switch {
			case kv == nil:
				return fault.NotFound("%s is not there", title(r))
			case kv.ModRevision != revision:
				return &staleError{title(r), kv.ModRevision, revision}
			}
			return nil
		},
	}
}

// Claim takes a thing for a holder. It is refused with a [HeldError] if somebody has it,
// be it the same holder.
func (b *Batch) Claim(t Thing, by Holder) {
	key, value, err := b.claim(t, by)
	if err != nil {
		b.fail(err)
		return
	}
	b.add(guard{
		key: key, cmp: clientv3.Compare(clientv3.CreateRevision(key), "=", 0), values: true,
		broken: func(kv *mvccpb.KeyValue) error {
			if kv == nil {
				return nil
			}
			held := &HeldError{Thing: t}
			if err := json.Unmarshal(kv.Value, &held.By); err != nil {
				return fmt.Errorf("read who holds %s: %w", t, err)
			}
			return held
		},
	}, clientv3.OpPut(key, string(value)), len(key)+len(value))
}

// Release gives a thing back, which must be held by that holder.
func (b *Batch) Release(t Thing, by Holder) {
	key, value, err := b.claim(t, by)
	if err != nil {
		b.fail(err)
		return
	}
	b.add(guard{
		key: key, cmp: clientv3.Compare(clientv3.Value(key), "=", string(value)), values: true,
		broken: func(kv *mvccpb.KeyValue) error {
			switch {
			case kv == nil:
				return fault.NotFound("%s is held by nobody", t)
			case !bytes.Equal(kv.Value, value):
				return fault.Conflict("%s is not held by %s (%s): the holder is %.200s", t, by.Name, by.UID, kv.Value)
			}
			return nil
		},
	}, clientv3.OpDelete(key), len(key)+len(value))
}

func (b *Batch) claim(t Thing, by Holder) (key string, value []byte, err error) {
	if t.Class == "" || t.Name == "" || by.Name == "" || by.UID == "" {
		return "", nil, fault.Invalid("a claim needs a thing and a holder with a UID, not %q for %q", t, by)
	}
	value, err = json.Marshal(by, json.Deterministic(true))
	return b.store.keys.claim(t), value, err
}

func (b *Batch) put(r api.Resource, under func(key string) guard) {
	key, err := b.key(r)
	if err != nil {
		b.fail(err)
		return
	}
	if b.codec == nil {
		b.codec, _ = codecs.Get().(*api.Codec)
		b.codec.Forget()
	}
	data, err := encode(r, b.codec.Encode)
	switch {
	case err != nil:
		b.fail(err)
		return
	case len(data) > mostResource:
		b.fail(fault.Invalid("%s has %d bytes, more than %d", title(r), len(data), mostResource))
		return
	}
	b.written = append(b.written, r)
	b.add(under(key), clientv3.OpPut(key, string(data)), len(key)+len(data))
}

// encode writes a resource without its revision, which is the store's.
func encode(r api.Resource, write func(api.Resource) ([]byte, error)) ([]byte, error) {
	revision := r.Head().Revision
	r.Head().Revision = 0
	data, err := write(r)
	r.Head().Revision = revision
	return data, err
}

func (b *Batch) add(g guard, op clientv3.Op, size int) {
	b.guards = append(b.guards, g)
	b.ops = append(b.ops, op)
	b.touched = append(b.touched, g.key)
	b.size += size + len(g.key) // the comparison
}

func (b *Batch) key(r api.Resource) (string, error) {
	name := r.Head().Name
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return "", fault.Invalid("%q is no name of a resource", name)
	}
	return b.store.keys.resource(r.Kind(), name), nil
}

func (b *Batch) fail(err error) { b.err = errors.Join(b.err, err) }

// Commit makes the changes and returns their revision, which is then also that of the
// resources written. The error has a reason for each condition that did not hold; see the
// package's comment for one of class Unavailable.
func (b *Batch) Commit(ctx context.Context) (int64, error) {
	if b.codec != nil {
		codecs.Put(b.codec)
		b.codec = nil
	}
	if b.err != nil {
		return 0, b.err
	}
	seen := make(map[string]bool, len(b.touched))
	for _, key := range b.touched {
		if seen[key] {
			return 0, fault.Invalid("a batch changes %s twice", key)
		}
		seen[key] = true
	}
	most := b.store.group.most - everyTxn
	switch {
	case len(b.ops) == 0:
		return 0, fault.Invalid("a batch without changes")
	case len(b.guards) > most:
		return 0, fault.Invalid("a batch of %d changes and conditions: this etcd takes %d at once", len(b.guards), most)
	case b.size > mostBatch:
		return 0, fault.Invalid("a batch of %d bytes: %d are the most", b.size, mostBatch)
	}
	revision, err := b.store.group.commit(ctx, b)
	if err != nil {
		return 0, err
	}
	for _, r := range b.written {
		r.Head().Revision = revision
	}
	return revision, nil
}

func title(r api.Resource) string {
	return fmt.Sprintf("%s %.80q", strings.TrimSuffix(string(r.Kind()), "s"), r.Head().Name)
}
