package link

import (
	"bufio"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/session"
)

const pathSessions = Root + "sessions"

// Bounds of sessions.
const (
	attachLimit   = 10 * time.Second // from the offer until the host has come
	mostSessions  = 64               // of one host at once; of one user no more than are free
	offersBehind  = mostSessions     // that wait for the stream to its host
	firstSessions = 500 * time.Millisecond
)

// Carrier is a [Host] that carries sessions.
type Carrier interface {
	// Session serves one until it ends or ctx does, and says the end. It need not close.
	Session(ctx context.Context, o session.Offer, c *session.Conn)
}

// sessions are those that hosts are offered and have not come for, and the streams by which
// they are.
type sessions struct {
	mu    sync.Mutex // guards all below
	hosts map[string]chan session.Offer
	open  map[string]*offered // by id
	count map[string]users    // of hosts
}

// users are how many sessions each has of one host.
type users map[string]int

func (u users) all() (n int) {
	for _, of := range u {
		n += of
	}
	return n
}

// offered is a session that its user waits for, until gone.
type offered struct {
	host string
	came chan io.ReadWriteCloser // of capacity 1

	mu   sync.Mutex // guards all below
	gone bool
}

// give hands the host's connection to who waits, or closes it.
func (o *offered) give(rw io.ReadWriteCloser) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		_ = rw.Close()
		return
	}
	o.came <- rw
}

// leave waits no more.
func (o *offered) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = true
	select {
	case rw := <-o.came:
		_ = rw.Close()
	default:
	}
}

// Linked says whether a host is linked to this process, so that sessions may be offered to it.
func (s *Server) Linked(host string) bool {
	p := &s.sessions
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hosts[host] != nil
}

// Open offers a session of a user to a host, and waits until it has come for it. The session
// counts until done is called; a user has no more of a host than are free then, so that one
// leaves some to the next. A host that is not linked to this process is of class Unavailable.
func (s *Server) Open(ctx context.Context, host, by string, o session.Offer) (rw io.ReadWriteCloser, done func(), err error) {
	o.ID = rand.Text()
	wait := &offered{host: host, came: make(chan io.ReadWriteCloser, 1)}
	p := &s.sessions
	p.mu.Lock()
	to, linked := p.hosts[host]
	switch {
	case !linked:
		p.mu.Unlock()
		return nil, nil, fault.Unavailable("host %s is not linked to this mos-scheduler: it is away, or another has begun to lead", host)
	case p.count[host][by] >= mostSessions-p.count[host].all():
		has, all := p.count[host][by], p.count[host].all()
		p.mu.Unlock()
		return nil, nil, fault.Exhausted("%s has %d of the %d sessions that host %s has, which may have %d at once, and nobody more of them than are free", by, has, all, host, mostSessions)
	}
	if p.open == nil {
		p.open, p.count = map[string]*offered{}, map[string]users{}
	}
	if p.count[host] == nil {
		p.count[host] = users{}
	}
	p.open[o.ID] = wait
	p.count[host][by]++
	p.mu.Unlock()
	done = sync.OnceFunc(func() { p.end(host, by) })
	ctx, cancel := context.WithTimeout(ctx, attachLimit)
	defer cancel()
	select {
	case to <- o:
	case <-ctx.Done():
	}
	select {
	case rw = <-wait.came:
		return rw, done, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	delete(p.open, o.ID)
	p.mu.Unlock()
	wait.leave() // it may be coming
	done()
	return nil, nil, fault.Unavailable("host %s did not come for the session: %w", host, ctx.Err())
}

// end takes one off what a user has.
func (p *sessions) end(host, by string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.count[host]
	if of[by]--; of[by] == 0 {
		delete(of, by)
	}
	if len(of) == 0 {
		delete(p.count, host)
	}
}

// offers writes a line for each session that a host is to come for, and an empty one where
// there is none for a while. A second stream of a host takes the place of the first.
func (s *Server) offers(w http.ResponseWriter, r *http.Request) error {
	host := r.URL.Query().Get("host")
	if _, err := s.may(r, host); err != nil {
		return err
	}
	mine := make(chan session.Offer, offersBehind)
	p := &s.sessions
	p.mu.Lock()
	if p.hosts == nil {
		p.hosts = map[string]chan session.Offer{}
	}
	p.hosts[host] = mine
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.hosts[host] == mine {
			delete(p.hosts, host)
		}
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := http.NewResponseController(w)
	tick := time.NewTicker(keepalive)
	defer tick.Stop()
	for line := []byte(nil); ; {
		_ = out.SetWriteDeadline(time.Now().Add(3 * keepalive)) // where there is none, none is missed
		if _, err := w.Write(append(line, '\n')); err != nil {
			return nil // the host is gone
		}
		if err := out.Flush(); err != nil {
			return nil // the host is gone
		}
		select {
		case o := <-mine:
			var err error
			if line, err = json.Marshal(o); err != nil {
				return err
			}
		case <-tick.C:
			line = nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// attach gives a host's connection to who waits for it.
func (s *Server) attach(w http.ResponseWriter, r *http.Request) error {
	host := r.URL.Query().Get("host")
	if _, err := s.may(r, host); err != nil {
		return err
	}
	if err := session.Asks(r); err != nil {
		return err
	}
	id := r.PathValue("id")
	p := &s.sessions
	p.mu.Lock()
	wait, ok := p.open[id]
	if ok = ok && wait.host == host; ok {
		delete(p.open, id)
	}
	p.mu.Unlock()
	if !ok {
		return fault.NotFound("nobody waits for this session any more")
	}
	rw, err := session.Accept(w)
	if err != nil {
		return err
	}
	wait.give(rw)
	return nil
}

// carry takes sessions until ctx ends. Without its stream the host is linked all the same.
func (c *Client) carry(ctx context.Context, conn *conn, host string, h Carrier) {
	var work sync.WaitGroup
	defer work.Wait()
	for ctx.Err() == nil {
		err := c.offers(ctx, conn, host, func(o session.Offer) {
			work.Go(func() { c.serve(ctx, conn, host, h, o) })
		})
		if ctx.Err() == nil {
			c.Log.DebugContext(ctx, "no sessions are heard of", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(firstSessions):
		}
	}
}

// offers reads their stream until that ends.
func (c *Client) offers(ctx context.Context, conn *conn, host string, take func(session.Offer)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, conn.base+pathSessions+"?host="+url.QueryEscape(host), nil)
	if err != nil {
		return err
	}
	silence := time.AfterFunc(3*keepalive, cancel)
	defer silence.Stop()
	resp, err := conn.do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, mostReport)
	for lines.Scan() {
		silence.Reset(3 * keepalive)
		if len(lines.Bytes()) == 0 {
			continue
		}
		var o session.Offer
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fault.Invalid("read an offer of a session: %w", err)
		}
		take(o)
	}
	return lines.Err()
}

// serve goes for a session. Its connection is one of its own, of HTTP/1.1, and ends with ctx.
func (c *Client) serve(ctx context.Context, conn *conn, host string, h Carrier, o session.Offer) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	at := conn.base + pathSessions + "/" + url.PathEscape(o.ID) + "?host=" + url.QueryEscape(host)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, nil)
	if err != nil {
		c.Log.WarnContext(ctx, "session not served", "set", o.Set, "err", err)
		return
	}
	linked, ok := conn.http.Transport.(*http.Transport)
	if !ok {
		return // it is ours, see transport
	}
	rw, resp, err := session.Dial(ctx, linked, req)
	if resp != nil {
		_ = resp.Body.Close()
		err = fault.Unavailable("the mos-scheduler answered %s", resp.Status)
	}
	if err != nil {
		c.Log.WarnContext(ctx, "session not served", "set", o.Set, "err", err)
		return
	}
	s := session.NewConn(rw)
	defer func() { _ = s.Close() }()
	h.Session(ctx, o, s)
}
