package state

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var errUnexplained = errors.New("etcd refused a transaction whose conditions all hold")

// send commits a group in one transaction, or returns the conditions that did not hold.
func (s *Store) send(ctx context.Context, all []guard, group []*waiting) (int64, []guardError, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	all = append(all, s.schema)
	cmps := make([]clientv3.Cmp, len(all))
	asks := make([]clientv3.Op, len(all))
	for i, g := range all {
		cmps[i] = g.cmp
		if g.values {
			asks[i] = clientv3.OpGet(g.key)
		} else {
			asks[i] = clientv3.OpGet(g.key, clientv3.WithKeysOnly())
		}
	}
	var ops []clientv3.Op
	for _, w := range group {
		ops = append(ops, w.ops...)
	}
	r, err := s.etcd.Txn(ctx).If(cmps...).Then(ops...).Else(asks...).Commit()
	if err != nil {
		return 0, nil, explain(err, "write")
	}
	if r.Succeeded {
		return r.Header.Revision, nil, nil
	}
	var broken []guardError
	for i, g := range all {
		var kv *mvccpb.KeyValue
		if kvs := r.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			kv = kvs[0]
		}
		if err := g.broken(kv); err != nil {
			broken = append(broken, guardError{g.key, err})
		}
	}
	if len(broken) == 0 {
		return 0, nil, errUnexplained
	}
	return 0, broken, nil
}
