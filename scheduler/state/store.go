package state

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Options are those of a [Store]. The zero value is that of a cluster alone on its etcd.
type Options struct {
	Prefix  string           // of all keys, /mos/ by default
	Name    string           // of this process, which no other that writes has; a new one by default
	Timeout time.Duration    // for one request to etcd, 10 s by default
	Now     func() time.Time // for Created of resources
}

// Store keeps the state of one cluster. It is safe for concurrent use.
type Store struct {
	etcd    *clientv3.Client
	keys    keys
	timeout time.Duration
	now     func() time.Time
	schema  guard // holds as long as no other version has taken the store over
	group   grouper
}

// Open makes the store of a new prefix, or opens that of an old one: the schema of an
// older version is migrated, that of a newer one refused. The client stays the caller's,
// who closes it after the store.
func Open(ctx context.Context, etcd *clientv3.Client, o Options) (*Store, error) {
	return open(ctx, etcd, o, migrations())
}

func open(ctx context.Context, etcd *clientv3.Client, o Options, steps []migration) (*Store, error) {
	if o.Prefix == "" {
		o.Prefix = "/mos/"
	}
	if !strings.HasPrefix(o.Prefix, "/") || !strings.HasSuffix(o.Prefix, "/") {
		return nil, fault.Invalid("prefix %q of keys: it begins and ends with a slash", o.Prefix)
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{etcd: etcd, keys: keys{o.Prefix}, timeout: o.Timeout, now: o.Now}
	s.group.send, s.group.receipts = s.send, receipts(s.keys, cmp.Or(o.Name, uuid.NewString()))
	var err error
	if s.group.most, err = s.mostOps(ctx); err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := supported(short, etcd); err != nil {
		return nil, err
	}
	if err := s.migrate(ctx, steps); err != nil {
		return nil, err
	}
	return s, nil
}

// Close waits for batches under way.
func (s *Store) Close() { s.group.wait() }

// mostOps asks how many operations a transaction may have: an embedded server takes
// [MaxOps], others 128 unless they are told.
func (s *Store) mostOps(ctx context.Context) (int, error) {
	const plain = 128
	for _, n := range []int{MaxOps, plain} {
		never := make([]clientv3.Cmp, n)
		for i := range never {
			never[i] = clientv3.Compare(clientv3.CreateRevision(s.keys.schema()), "<", 0)
		}
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		_, err := s.etcd.Txn(ctx).If(never...).Commit()
		cancel()
		switch {
		case err == nil:
			return n, nil
		case !errors.Is(rpctypes.Error(err), rpctypes.ErrTooManyOps):
			return 0, explain(err, "open the store")
		}
	}
	return 0, fault.Invalid("open the store: this etcd takes less than %d operations a transaction: raise its --max-txn-ops", plain)
}

// MaxOps is how many operations a transaction has at most, where etcd lets it: to run an
// etcd for batches as large as those of an embedded one, set its --max-txn-ops to it.
const MaxOps = 512
