package state

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A write that is under way when the leader of etcd dies is not answered for 7 s, and then by
// an error that says nothing. So a transaction is sent again sooner; its receipt, a key that it
// writes and whose revision it compares, lets it happen once, and tells what became of it.
const (
	firstPatience = 2 * time.Second // etcd has a new leader in about that time; doubled each time
	retryPause    = 100 * time.Millisecond
	everyTxn      = 2 // conditions of each transaction: the receipt's and the schema's
)

// receipt is a key that one transaction of this process at a time writes.
type receipt struct {
	key string
	at  int64 // its revision, as far as is known
}

// receipts are those of a process, as many as transactions are under way at once.
func receipts(k keys, of string) []*receipt {
	all := make([]*receipt, mostFlying)
	for i := range all {
		all[i] = &receipt{key: k.receipts(of) + strconv.Itoa(i)}
	}
	return all
}

// commit makes the changes once, if all conditions hold. It returns the revision at which
// they were made, or that at which they were refused. After an error they may be made later.
func (r *receipt) commit(ctx context.Context, etcd clientv3.KV, cmps []clientv3.Cmp, ops []clientv3.Op) (revision int64, made bool, err error) {
	if !slices.ContainsFunc(ops, clientv3.Op.IsPut) {
		// An etcd over its quota takes deletes, and no receipt.
		resp, err := etcd.Txn(ctx).If(cmps...).Then(ops...).Commit()
		if err != nil {
			return 0, false, explain(err, "write")
		}
		return resp.Header.Revision, resp.Succeeded, nil
	}
	id := uuid.NewString()
	mine := len(cmps)
	cmps = append(cmps, clientv3.Cmp{})
	ops = append(ops, clientv3.OpPut(r.key, id))
	for patience := firstPatience; ; {
		cmps[mine] = clientv3.Compare(clientv3.ModRevision(r.key), "=", r.at)
		short, cancel := context.WithTimeout(ctx, patience)
		resp, err := etcd.Txn(short).If(cmps...).Then(ops...).Else(clientv3.OpGet(r.key)).Commit()
		cancel()
		switch err = explain(err, "write"); {
		case err == nil:
		case !errdefs.IsUnavailable(err):
			return 0, false, err
		default:
			select {
			case <-ctx.Done():
				return 0, false, err
			case <-time.After(retryPause):
			}
			patience *= 2
			continue
		}
		believed := r.at
		if resp.Succeeded {
			r.at = resp.Header.Revision
			return r.at, true, nil
		}
		r.at = 0
		if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
			if r.at = kvs[0].ModRevision; string(kvs[0].Value) == id {
				return r.at, true, nil // by an earlier try
			}
		}
		if r.at != believed {
			continue
		}
		if patience > firstPatience { // an earlier try may come late: it meets another receipt then
			over, err := r.renew(ctx, etcd)
			if err != nil {
				return 0, false, err
			}
			if !over {
				continue
			}
		}
		return resp.Header.Revision, false, nil
	}
}

// renew writes the receipt alone, so that nothing is made by the one that was. It does not if
// that moved: then something was.
func (r *receipt) renew(ctx context.Context, etcd clientv3.KV) (bool, error) {
	resp, err := etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(r.key), "=", r.at)).Then(clientv3.OpPut(r.key, "")).Commit()
	if err != nil {
		return false, explain(err, "write")
	}
	if resp.Succeeded {
		r.at = resp.Header.Revision
	}
	return resp.Succeeded, nil
}
