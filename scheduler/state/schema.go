package state

import (
	"context"
	"strconv"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// migration brings what is stored from one version to the next. It may be cut off at any
// point and is then run again, so each of its steps is safe to repeat.
type migration func(ctx context.Context, s *Store) error

// migrations are those from version 1, 2, and so on. There is only version 1.
func migrations() []migration { return nil }

// migrate makes the schema the last one that this program knows. Each batch then compares
// its revision, so that a program of another version that still runs writes nothing more.
func (s *Store) migrate(ctx context.Context, steps []migration) error {
	last := int64(len(steps) + 1)
	for {
		version, revision, err := s.version(ctx)
		switch {
		case err != nil:
			return err
		case version == last:
			s.schema = s.unchanged(revision)
			return nil
		case version > last:
			return fault.Conflict("the store is of schema %d, this program knows %d: run a newer one", version, last)
		}
		if version > 0 {
			if err := steps[version-1](ctx, s); err != nil {
				return fault.Conflict("migrate the store from schema %d: %w", version, err)
			}
		} else {
			version = last - 1 // nothing is stored
		}
		if err := s.raise(ctx, version+1, revision); err != nil {
			return err
		}
	}
}

// version is that of the schema, and its revision; 0 if there is none.
func (s *Store) version(ctx context.Context) (version, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.etcd.Get(ctx, s.keys.schema())
	if err != nil {
		return 0, 0, explain(err, "read the schema's version")
	}
	if len(r.Kvs) > 0 {
		kv := r.Kvs[0]
		if version, err = strconv.ParseInt(string(kv.Value), 10, 64); err != nil || version < 1 {
			return 0, 0, fault.Conflict("%s has %.40q, which is no version: this prefix is not ours, take another", s.keys.schema(), kv.Value)
		}
		return version, kv.ModRevision, nil
	}
	if r, err = s.etcd.Get(ctx, s.keys.prefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly()); err != nil {
		return 0, 0, explain(err, "look for other keys")
	}
	if len(r.Kvs) > 0 {
		return 0, 0, fault.Conflict("there are keys below %s, such as %.80q, without a version: this prefix is not ours, take another", s.keys.prefix, r.Kvs[0].Key)
	}
	return 0, 0, nil
}

// raise writes a version if nobody did since. If somebody did, that is no error: who
// calls it looks again.
func (s *Store) raise(ctx context.Context, to, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.etcd.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(s.keys.schema()), "=", revision)).
		Then(clientv3.OpPut(s.keys.schema(), strconv.FormatInt(to, 10))).
		Commit()
	return explain(err, "write the schema's version")
}

func (s *Store) unchanged(revision int64) guard {
	key := s.keys.schema()
	return guard{
		key: key, want: revision, cmp: clientv3.Compare(clientv3.ModRevision(key), "=", revision),
		broken: func(kv *mvccpb.KeyValue) error {
			if kv == nil || kv.ModRevision != revision {
				return fault.Conflict("the store was taken over by another version, or restored: start again")
			}
			return nil
		},
	}
}
