package state

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/fault"
)

var errUnexplained = errors.New("etcd refused a transaction whose conditions all hold")

// send commits a group in one transaction, or returns the conditions that did not hold.
func (s *Store) send(ctx context.Context, r *receipt, all []guard, group []*waiting) (int64, []guardError, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	all = append(all, s.schema)
	cmps := make([]clientv3.Cmp, len(all))
	for i, g := range all {
		cmps[i] = g.cmp
	}
	var ops []clientv3.Op
	for _, w := range group {
		ops = append(ops, w.ops...)
	}
	revision, made, err := r.commit(ctx, s.etcd, cmps, ops)
	if err != nil || made {
		return revision, nil, err
	}
	broken, err := s.broken(ctx, all, revision)
	return 0, broken, err
}

// broken looks which conditions did not hold at a revision. To ask so in the transaction
// itself would put all questions into the log of etcd, for the sake of the few that fail.
func (s *Store) broken(ctx context.Context, all []guard, revision int64) ([]guardError, error) {
	var broken []guardError
	for part := range slices.Chunk(all, s.group.most) {
		asks := make([]clientv3.Op, len(part))
		for i, g := range part {
			how := []clientv3.OpOption{clientv3.WithRev(revision)}
			if !g.values {
				how = append(how, clientv3.WithKeysOnly())
			}
			asks[i] = clientv3.OpGet(g.key, how...)
		}
		r, err := s.etcd.Txn(ctx).Then(asks...).Commit()
		switch {
		case errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted):
			return nil, fault.Unavailable("write: a condition did not hold, and which one was forgotten: read again")
		case err != nil:
			return nil, explain(err, "look why a write was refused")
		}
		for i, g := range part {
			var kv *mvccpb.KeyValue
			if kvs := r.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
				kv = kvs[0]
			}
			if err := g.broken(kv); err != nil {
				broken = append(broken, guardError{g.key, err})
			}
		}
	}
	if len(broken) == 0 {
		return nil, errUnexplained
	}
	return broken, nil
}
