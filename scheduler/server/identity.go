package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// Caller is who asks.
type Caller struct {
	Name   string
	Role   api.Role
	Tenant string // of role tenant
}

type peerKey struct{}

// PeerContext gives the connections of a unix socket who is at their other end; it is the
// ConnContext of the [net/http.Server] there. Whoever the socket's rights let in is an admin:
// they are those of the users who own this host.
func PeerContext(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *unix.Ucred
	if raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, Caller{Name: userName(peer.Uid), Role: api.Admin})
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// identify says who asks: the bearer of a token, else the owner of a certificate, else who
// is at the other end of a unix socket. Its error is of class Unauthenticated.
func (s *Server) identify(ctx context.Context, authorization string, conn *tls.ConnectionState) (Caller, error) {
	if authorization != "" {
		return s.bearers.caller(ctx, authorization)
	}
	if conn != nil && len(conn.VerifiedChains) > 0 {
		return certified(conn)
	}
	if c, ok := ctx.Value(peerKey{}).(Caller); ok {
		return c, nil
	}
	return Caller{}, fault.Of(errdefs.ErrUnauthenticated, "nobody is known by this request: send a token (Authorization: Bearer …), or a certificate of the cluster")
}

// certified reads mos://ROLE/NAME of a certificate that the cluster's authority signed. The
// name of a tenant is the tenant's.
func certified(conn *tls.ConnectionState) (Caller, error) {
	leaf := conn.VerifiedChains[0][0]
	for _, u := range leaf.URIs {
		if role, name, ok := owner(u); ok {
			c := Caller{Name: name, Role: role}
			if role == api.Tenant {
				c.Tenant = name
			}
			return c, nil
		}
	}
	return Caller{}, fault.Of(errdefs.ErrUnauthenticated, "the certificate of %.80q is for no mos://ROLE/NAME", leaf.Subject.CommonName)
}

// owner reads mos://ROLE/NAME.
func owner(u *url.URL) (role api.Role, name string, ok bool) {
	role, name = api.Role(u.Host), strings.TrimPrefix(u.Path, "/")
	return role, name, u.Scheme == "mos" && name != "" && slices.Contains(api.Roles(), role)
}

// Who says for which hosts a request to the link speaks: over a unix socket for any, with a
// host's certificate for that one. It is of class Unauthenticated for others.
func Who(r *http.Request) (link.Peer, error) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		c, err := certified(r.TLS)
		if err == nil && c.Role != api.OfHost {
			err = fault.Of(errdefs.ErrPermissionDenied, "%s (%s) is no host", c.Name, c.Role)
		}
		return link.Peer{Host: c.Name}, err
	}
	if _, ok := r.Context().Value(peerKey{}).(Caller); ok {
		return link.Peer{Any: true}, nil
	}
	return link.Peer{}, fault.Of(errdefs.ErrUnauthenticated, "a host shows its certificate: join the cluster first")
}

// bearers knows tokens for a moment, so that not each request reads the store.
type bearers struct {
	store *state.Store
	now   func() time.Time

	mu    sync.Mutex // guards all below
	known map[string]seenToken
}

type seenToken struct {
	token *api.Token
	at    time.Time
}

// knownFor is how long a token that was taken away is still let in.
const knownFor = 2 * time.Second

func (b *bearers) caller(ctx context.Context, authorization string) (Caller, error) {
	scheme, secret, _ := strings.Cut(authorization, " ")
	name, ok := api.TokenName(secret)
	if !strings.EqualFold(scheme, "Bearer") || !ok {
		return Caller{}, fault.Of(errdefs.ErrUnauthenticated, "the Authorization header has no token: send Bearer mos.NAME.…")
	}
	token, err := b.token(ctx, name)
	switch {
	case errdefs.IsNotFound(err): // as for a wrong secret: names are not told
		return Caller{}, fault.Of(errdefs.ErrUnauthenticated, "the token is not known")
	case err != nil:
		return Caller{}, err
	}
	if err := token.Admits(secret, b.now()); err != nil {
		return Caller{}, err
	}
	return Caller{Name: name, Role: token.Spec.Role, Tenant: token.Spec.Tenant}, nil
}

func (b *bearers) token(ctx context.Context, name string) (*api.Token, error) {
	b.mu.Lock()
	seen, ok := b.known[name]
	b.mu.Unlock()
	now := b.now()
	if ok && now.Sub(seen.at) < knownFor {
		return seen.token, nil
	}
	token, err := state.Get[api.Token](ctx, b.store, name)
	b.mu.Lock()
	defer b.mu.Unlock()
	const most = 10_000
	if err != nil {
		delete(b.known, name)
		return nil, err
	}
	if b.known == nil || len(b.known) > most {
		b.known = map[string]seenToken{}
	}
	b.known[name] = seenToken{token, now}
	return token, nil
}

// while is the context of a request that goes on: it ends soon after its token, if it has one,
// is let in no more. A store that does not answer ends nothing.
func (b *bearers) while(ctx context.Context, authorization string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if authorization == "" {
		return ctx, cancel
	}
	go func() { // ends with ctx
		tick := time.NewTicker(knownFor)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if _, err := b.caller(ctx, authorization); errdefs.IsUnauthorized(err) {
				cancel()
			}
		}
	}()
	return ctx, cancel
}
