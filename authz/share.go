package authz

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/authz/judge"
	"github.com/mosdocker/mosdocker/authz/policy"
)

// The limits of a share, as rules are named.
const (
	byRequests    = "limits.requests"
	byConnections = "limits.connections"
)

const (
	// toldApart is the least time between two notes of the refusals of one user, which a
	// flood would otherwise fill the audit log with.
	toldApart = 10 * time.Second
	// holdRefused is how long a refusal takes: who asks again without heed costs little.
	holdRefused = 200 * time.Millisecond
	// spareConnections of each user beyond his share live for spareLife, to be told so.
	spareConnections = 32
	spareLife        = 2 * time.Second
)

// shares is what users have of the guarded socket, by user id. A user and not a tenant has
// a share: so one of them does not keep the others of his tenant out either.
type shares struct {
	now func() time.Time

	mu sync.Mutex // guards all below
	by map[uint32]*share
}

// share is one user's.
type share struct {
	connections, spare int
	tokens             float64 // requests that may come at once
	at                 time.Time
	full               time.Time // when all tokens are there again
	untold             map[string]*excess
}

// excess is refusals by one limit.
type excess struct {
	Line
	told time.Time // when the last note was made
}

func newShares() *shares { return &shares{now: time.Now, by: map[uint32]*share{}} }

// of is a user's share; the lock is held.
func (s *shares) of(uid uint32) *share {
	sh := s.by[uid]
	if sh == nil {
		sh = &share{untold: map[string]*excess{}}
		s.by[uid] = sh
	}
	return sh
}

// take takes a request, or says how long it would have to wait. The first overdraft
// requests beyond the share are taken where the caller lets them.
func (s *shares) take(uid uint32, limit policy.Share, overdraft float64) (wait time.Duration) {
	if limit.Requests <= 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sh, now := s.of(uid), s.now()
	sh.tokens = min(float64(limit.Burst), sh.tokens+now.Sub(sh.at).Seconds()*limit.Requests)
	sh.at = now
	if lacks := 1 - overdraft - sh.tokens; lacks > 0 {
		return max(1, seconds(lacks/limit.Requests))
	}
	sh.tokens--
	sh.full = now.Add(seconds((float64(limit.Burst) - sh.tokens) / limit.Requests))
	return 0
}

func seconds(n float64) time.Duration {
	return time.Duration(min(n, 1e6) * float64(time.Second)) // a rate may be tiny
}

// enter counts a connection. A spare one is beyond the share, and ok says whether it is
// let in at all.
func (s *shares) enter(uid uint32, most int) (spare, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.of(uid)
	switch {
	case most <= 0 || sh.connections < most:
		sh.connections++
		return false, true
	case sh.spare < spareConnections:
		sh.spare++
		return true, true
	}
	return true, false
}

func (s *shares) leave(uid uint32, spare bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh := s.of(uid); spare {
		sh.spare--
	} else {
		sh.connections--
	}
}

// exceeded counts a refusal, and returns the note to make of it, nil when one was made a
// moment ago.
func (s *shares) exceeded(uid uint32, l Line) *Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.of(uid).untold[l.Rule]
	if e == nil {
		e = &excess{}
		s.of(uid).untold[l.Rule] = e
	}
	l.Times = e.Times + 1
	e.Line = l
	return e.due(s.now())
}

// due is the note of refusals that nobody was told of, when it is time.
func (e *excess) due(now time.Time) *Line {
	if e.Times == 0 || now.Sub(e.told) < toldApart {
		return nil
	}
	l := e.Line
	e.told, e.Times = now, 0
	return &l
}

// sweep forgets users who have nothing of their share in use, and returns the notes that
// are due; at the end, all.
func (s *shares) sweep(end bool) (due []*Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for uid, sh := range s.by {
		for rule, e := range sh.untold {
			if end {
				e.told = time.Time{}
			}
			if l := e.due(now); l != nil {
				due = append(due, l)
			} else if e.Times == 0 && now.Sub(e.told) >= toldApart {
				delete(sh.untold, rule)
			}
		}
		if sh.connections+sh.spare+len(sh.untold) == 0 && !sh.full.After(now) {
			delete(s.by, uid)
		}
	}
	return due
}

// share is what the policy in force gives a client, see [policy.Policy.Share].
func (d *Daemon) share(who policy.Who) (policy.Share, string, policy.Mode) {
	if f := d.inForce.Load(); f != nil {
		return f.Share(who)
	}
	return new(policy.Policy).Share(who)
}

// lenient says whether what exceeds a share is let through, and noted only.
func lenient(m policy.Mode) bool { return m == policy.Warn || m == policy.Audit }

// caller is who opened a connection of the guarded socket.
type caller struct {
	who   policy.Who
	spare bool // it is beyond his share
}

// client is a connection of the guarded socket. It counts until it is closed, also when it
// was turned into a stream.
type client struct {
	*net.UnixConn
	caller
	left sync.Once
	d    *Daemon
}

// Close implements [net.Conn].
func (c *client) Close() error {
	c.left.Do(func() {
		c.d.shares.leave(c.who.UID, c.spare)
		c.d.metrics.connections.Dec()
	})
	return c.UnixConn.Close()
}

// guardedListener knows its clients, and lets in as many of one user as his share is.
type guardedListener struct {
	net.Listener
	d    *Daemon
	peer func(net.Conn) (policy.Who, error)
}

func (d *Daemon) guarded(l net.Listener) net.Listener { return &guardedListener{l, d, peer} }

// Accept implements [net.Listener].
func (l *guardedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if in := l.admit(c); in != nil {
			return in, nil
		}
		_ = c.Close() // nobody else has it
	}
}

// admit returns a connection, nil for one that is beyond all.
func (l *guardedListener) admit(c net.Conn) net.Conn {
	u, ok := c.(*net.UnixConn)
	who, err := l.peer(c)
	if !ok || err != nil {
		return c // and is refused
	}
	limit, _, mode := l.d.share(who)
	most := limit.Connections
	if lenient(mode) {
		most = 0
	}
	spare, ok := l.d.shares.enter(who.UID, most)
	if !ok {
		l.d.exceeded(who, byConnections, tooManyConnections(who, limit), nil)
		return nil
	}
	l.d.metrics.connections.Inc()
	in := &client{UnixConn: u, caller: caller{who, spare}, d: l.d}
	if spare {
		time.AfterFunc(spareLife, func() { _ = in.Close() }) // which is all that is to be done
	}
	return in
}

func tooManyConnections(who policy.Who, limit policy.Share) string {
	return fmt.Sprintf("too many connections: user %d has %d open, which is his share of this socket (%s): end some, such as docker events, logs -f, stats, attach, or ask the operators for more",
		who.UID, limit.Connections, byConnections)
}

// exceeded notes that a client wants more than his share; r is nil for a connection.
func (d *Daemon) exceeded(who policy.Who, rule, reason string, r *http.Request) {
	_, subject, mode := d.share(who)
	d.metrics.limited.WithLabelValues(strings.TrimPrefix(rule, "limits."), subject).Inc()
	v := judge.Verdict{Denied: true, Mode: mode, Allow: lenient(mode)}
	l := Line{Time: d.shares.now().UTC(), Front: frontName(judge.Proxy), Who: who.String(), Subject: subject, Decision: decision(v), Rule: rule, Reason: reason}
	if r != nil {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		l.Method, l.Path = clip(r.Method), clip(path)
	}
	if due := d.shares.exceeded(who.UID, l); due != nil {
		d.tell(due)
	}
}

// tell notes refusals in the log and in the audit log.
func (d *Daemon) tell(l *Line) {
	d.log.Warn("a user wants more than his share of the guarded socket", "who", l.Who, "subject", l.Subject, "rule", l.Rule, "times", l.Times)
	if err := d.audit.write(l); err != nil {
		d.log.Error("refusals were not noted", "err", err)
	}
}

// within says whether a request is within its sender's share; one that is not was answered.
func (p *proxy) within(w http.ResponseWriter, r *http.Request, c *caller) bool {
	limit, _, mode := p.d.share(c.who)
	if c.spare {
		w.Header().Set("Connection", "close")
		p.tooMuch(w, r, c.who, byConnections, time.Second, tooManyConnections(c.who, limit))
		return false
	}
	overdraft := 0.0
	if strings.HasSuffix(r.URL.Path, "/_ping") {
		// A docker command whose ping is refused guesses a version of the API, and then tells
		// its user of that in place of the limit.
		overdraft = max(10, float64(limit.Burst)/4)
	}
	wait := p.d.shares.take(c.who.UID, limit, overdraft)
	if wait == 0 {
		return true
	}
	reason := fmt.Sprintf("too many requests: %g a second, %d at once are the share of user %d of this socket (%s)",
		limit.Requests, limit.Burst, c.who.UID, byRequests)
	if lenient(mode) {
		p.d.exceeded(c.who, byRequests, reason, r)
		return true
	}
	p.tooMuch(w, r, c.who, byRequests, wait, reason)
	return false
}

// tooMuch refuses a request until some time is over.
func (p *proxy) tooMuch(w http.ResponseWriter, r *http.Request, who policy.Who, rule string, wait time.Duration, reason string) {
	p.d.exceeded(who, rule, reason, r)
	hold, cancel := context.WithTimeout(r.Context(), holdRefused)
	defer cancel()
	<-hold.Done()
	after := strconv.FormatFloat(math.Ceil(wait.Seconds()), 'f', 0, 64)
	w.Header().Set("Retry-After", after)
	answer(w, http.StatusTooManyRequests, "mos-authz: "+reason+": try again in "+after+" s")
}
