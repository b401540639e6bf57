package server

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/ca"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// revoked knows which certificates are let in no more, and ends the requests of those that
// become so.
type revoked struct {
	store *state.Store
	log   *slog.Logger

	mu   sync.Mutex // guards all below
	all  map[string]*api.Revocation
	open map[*admitted]bool
}

// admitted is a request that goes on.
type admitted struct {
	leaf *x509.Certificate
	end  context.CancelFunc
}

// newRevoked reads what is revoked, and follows it until ctx ends.
func newRevoked(ctx context.Context, store *state.Store, log *slog.Logger) (*revoked, error) {
	r := &revoked{store: store, log: log, open: map[*admitted]bool{}}
	at, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	go r.follow(ctx, at) // ends with ctx, as watches do
	return r, nil
}

func (r *revoked) list(ctx context.Context) (int64, error) {
	l, err := state.All[api.Revocation](ctx, r.store, state.Page{})
	if err != nil {
		return 0, err
	}
	all := map[string]*api.Revocation{}
	for _, i := range l.Items {
		all[i.Name] = i
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = all
	r.enforce()
	return l.Revision, nil
}

// follow keeps what is revoked as the store has it. What was known holds while the store is
// away.
func (r *revoked) follow(ctx context.Context, at int64) {
	for ctx.Err() == nil {
		for step, err := range r.store.Watch(ctx, at, api.Revocations) {
			if err != nil {
				break
			}
			r.mu.Lock()
			for _, c := range step.Changes {
				if is, ok := c.Resource.(*api.Revocation); ok {
					r.all[c.Name] = is
				} else {
					delete(r.all, c.Name)
				}
			}
			at = step.Revision
			r.enforce()
			r.mu.Unlock()
		}
		const pause = time.Second
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if is, err := r.list(ctx); err == nil {
			at = is
		} else if ctx.Err() == nil {
			r.log.WarnContext(ctx, "revocations of certificates are not read", "err", err)
		}
	}
}

// enforce ends requests of certificates that are revoked. Who calls has mu.
func (r *revoked) enforce() {
	for a := range r.open {
		if r.check(a.leaf) != nil {
			a.end()
		}
	}
}

// check says whether a certificate is revoked. It is of class Unauthenticated. Who calls has mu.
func (r *revoked) check(leaf *x509.Certificate) error {
	gone := r.all[api.NewRevocation(leaf.SerialNumber.Text(16), "", "").Name]
	for _, u := range leaf.URIs {
		if role, name, ok := owner(u); ok {
			by := r.all[api.NewRevocation("", role, name).Name]
			if by != nil && !ca.Made(leaf).After(by.Spec.Until) {
				gone = by
			}
		}
	}
	if gone == nil {
		return nil
	}
	return fault.Of(errdefs.ErrUnauthenticated, "the certificate of %.80q (serial %x) was revoked: have another made", leaf.Subject.CommonName, leaf.SerialNumber)
}

// admit gives a request that ends when its certificate is revoked. Who gets no error calls
// done at its end.
func (r *revoked) admit(req *http.Request) (of *http.Request, done func(), err error) {
	if req.TLS == nil || len(req.TLS.VerifiedChains) == 0 {
		return req, func() {}, nil
	}
	ctx, cancel := context.WithCancel(req.Context())
	a := &admitted{req.TLS.VerifiedChains[0][0], cancel}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.check(a.leaf); err != nil {
		cancel()
		return nil, nil, err
	}
	r.open[a] = true
	return req.WithContext(ctx), func() {
		cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.open, a)
	}, nil
}

// stamp gives a new revocation of an owner its time, to the second as certificates have it.
func (s *Server) stamp(r api.Resource) {
	if of, is := r.(*api.Revocation); is && of.Spec.Serial == "" {
		of.Spec.Until = s.cfg.Now().UTC().Truncate(time.Second)
	}
}
