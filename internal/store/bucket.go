package store

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"
)

// Bucket is a named set of values of one type, by key. It is made by
// [NewBucket], holds no state and may be kept in a variable.
type Bucket[T any] struct {
	name string
}

// Entry is one value of a bucket with its key.
type Entry[T any] struct {
	Key   string
	Value T
}

// NewBucket names a bucket. Names that begin with "_" belong to this package.
func NewBucket[T any](name string) Bucket[T] { return Bucket[T]{name} }

// Get returns the value of key, or [errdefs.ErrNotFound].
func (b Bucket[T]) Get(tx *Tx, key string) (T, error) {
	var v T
	data := b.of(tx).get(key)
	if data == nil {
		return v, fmt.Errorf("%s %q: %w", b.name, key, errdefs.ErrNotFound)
	}
	return b.decode(tx, []byte(key), data)
}

// Has reports whether key has a value.
func (b Bucket[T]) Has(tx *Tx, key string) bool { return b.of(tx).get(key) != nil }

// Put sets the value of key, which must not be empty. It makes the bucket when
// it is missing.
func (b Bucket[T]) Put(tx *Tx, key string, v T) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s %q: %w", b.name, key, err)
	}
	in, err := tx.tx.CreateBucketIfNotExists([]byte(b.name))
	if err == nil {
		err = in.Put([]byte(key), data)
	}
	if err != nil {
		return fmt.Errorf("put %s %q: %w", b.name, key, err)
	}
	return nil
}

// Delete removes key. That it is missing is no error.
func (b Bucket[T]) Delete(tx *Tx, key string) error {
	in := b.of(tx)
	if in.b == nil {
		return nil
	}
	if err := in.b.Delete([]byte(key)); err != nil {
		return fmt.Errorf("delete %s %q: %w", b.name, key, err)
	}
	return nil
}

// All returns the whole bucket in the order of the keys.
func (b Bucket[T]) All(tx *Tx) ([]Entry[T], error) { return b.Prefix(tx, "") }

// Prefix returns the entries whose keys begin with prefix, in their order.
func (b Bucket[T]) Prefix(tx *Tx, prefix string) ([]Entry[T], error) {
	in := b.of(tx)
	if in.b == nil {
		return nil, nil
	}
	var out []Entry[T]
	c := in.b.Cursor()
	p := []byte(prefix)
	for k, data := c.Seek(p); k != nil && bytes.HasPrefix(k, p); k, data = c.Next() {
		v, err := b.decode(tx, k, data)
		if err != nil {
			return nil, err
		}
		out = append(out, Entry[T]{string(k), v})
	}
	return out, nil
}

// inner is a bucket that may be missing.
type inner struct{ b *bolt.Bucket }

func (b Bucket[T]) of(tx *Tx) inner { return inner{tx.tx.Bucket([]byte(b.name))} }

func (i inner) get(key string) []byte {
	if i.b == nil {
		return nil
	}
	return i.b.Get([]byte(key))
}

func (b Bucket[T]) decode(tx *Tx, key, data []byte) (T, error) {
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("store %s: %s %q: %w (%w)", tx.tx.DB().Path(), b.name, key, errdefs.ErrDataLoss, err)
	}
	return v, nil
}
