package state_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
)

// lossy lets a test do with the next transaction as a network may.
type lossy struct {
	clientv3.KV
	next func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) // nil for nothing
}

func (l *lossy) Txn(ctx context.Context) clientv3.Txn {
	return &lossyTxn{l.KV.Txn(ctx), l.KV.Txn(context.WithoutCancel(ctx)), l}
}

// lossyTxn has a twin that outlives its caller.
type lossyTxn struct {
	clientv3.Txn
	twin clientv3.Txn
	of   *lossy
}

func (x *lossyTxn) If(c ...clientv3.Cmp) clientv3.Txn {
	x.Txn, x.twin = x.Txn.If(c...), x.twin.If(slices.Clone(c)...)
	return x
}

func (x *lossyTxn) Then(o ...clientv3.Op) clientv3.Txn {
	x.Txn, x.twin = x.Txn.Then(o...), x.twin.Then(o...)
	return x
}

func (x *lossyTxn) Else(o ...clientv3.Op) clientv3.Txn {
	x.Txn, x.twin = x.Txn.Else(o...), x.twin.Else(o...)
	return x
}

func (x *lossyTxn) Commit() (*clientv3.TxnResponse, error) {
	next := x.of.next
	if next == nil {
		return x.Txn.Commit()
	}
	x.of.next = nil
	return next(x.twin.Commit)
}

// TestWhatIsSentAgainHappensOnce loses requests and answers of changes.
func TestWhatIsSentAgainHappensOnce(t *testing.T) {
	etcd := start(t)
	other := open(t, etcd)
	l := &lossy{KV: etcd.KV}
	etcd.KV = l
	s, err := state.Open(t.Context(), etcd, state.Options{Name: "c1"})
	must(t, err)
	t.Cleanup(s.Close)
	create := func(name string) error {
		b := s.Batch(nil)
		b.Create(statetest.Host(name))
		_, err := b.Commit(t.Context())
		return err
	}
	remove := func(name string) {
		t.Helper()
		h, err := state.Get[api.Host](t.Context(), other, name)
		must(t, err)
		b := other.Batch(nil)
		b.Delete(h)
		_, err = b.Commit(t.Context())
		must(t, err)
	}
	there := func(name string) bool {
		t.Helper()
		_, err := state.Get[api.Host](t.Context(), other, name)
		if err != nil && !errdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	must(t, create("before"))

	t.Run("the answer is lost", func(t *testing.T) {
		l.next = func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			_, err := commit()
			return nil, errors.Join(rpctypes.ErrTimeout, err)
		}
		if err := create("a"); err != nil || !there("a") {
			t.Errorf("%v, there: %v", err, there("a"))
		}
	})
	t.Run("two answers are lost", func(t *testing.T) {
		lose := func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			_, err := commit()
			return nil, errors.Join(rpctypes.ErrTimeout, err)
		}
		l.next = func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			l.next = lose
			return lose(commit)
		}
		if err := create("g"); err != nil || !there("g") {
			t.Errorf("%v, there: %v", err, there("g"))
		}
	})
	t.Run("the request is lost", func(t *testing.T) {
		l.next = func(func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			return nil, rpctypes.ErrTimeout
		}
		if err := create("b"); err != nil || !there("b") {
			t.Errorf("%v, there: %v", err, there("b"))
		}
	})
	t.Run("removed by another before it is sent again", func(t *testing.T) {
		l.next = func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			_, err := commit()
			remove("c")
			return nil, errors.Join(rpctypes.ErrTimeout, err)
		}
		if err := create("c"); err != nil || there("c") {
			t.Errorf("%v, there: %v", err, there("c"))
		}
	})
	t.Run("made late, when it was made already", func(t *testing.T) {
		var late func() (*clientv3.TxnResponse, error)
		l.next = func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			late = commit
			return nil, rpctypes.ErrTimeout
		}
		must(t, create("d"))
		remove("d")
		if r, err := late(); err != nil || r.Succeeded || there("d") {
			t.Errorf("%v %v, there: %v", r, err, there("d"))
		}
	})
	t.Run("made late, when it was refused already", func(t *testing.T) {
		var late func() (*clientv3.TxnResponse, error)
		l.next = func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			late = commit
			return nil, rpctypes.ErrTimeout
		}
		if err := create("a"); !errdefs.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		remove("a")
		if r, err := late(); err != nil || r.Succeeded || there("a") {
			t.Errorf("%v %v, there: %v", r, err, there("a"))
		}
	})
	t.Run("a process of that name was here before", func(t *testing.T) {
		again, err := state.Open(t.Context(), etcd, state.Options{Name: "c1"})
		must(t, err)
		t.Cleanup(again.Close)
		b := again.Batch(nil)
		b.Create(statetest.Host("e"))
		if _, err := b.Commit(t.Context()); err != nil || !there("e") {
			t.Errorf("%v, there: %v", err, there("e"))
		}
		must(t, create("f"))
	})
}
