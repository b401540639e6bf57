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
	mostSessions  = 64               // of one host at once
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
	count map[string]int      // of hosts
}

type offered struct {
	host string
	came chan io.ReadWriteCloser // of capacity 1
}

// Open offers a session to a host, and waits until it has come for it. The session counts
// until done is called. A host that is not linked to this process is of class Unavailable.
func (s *Server) Open(ctx context.Context, host string, o session.Offer) (rw io.ReadWriteCloser, done func(), err error) {
	o.ID = rand.Text()
	wait := &offered{host, make(chan io.ReadWriteCloser, 1)}
	p := &s.sessions
	p.mu.Lock()
	to, linked := p.hosts[host]
	switch {
	case !linked:
		p.mu.Unlock()
		return nil, nil, fault.Unavailable("host %s is not linked to this mos-scheduler: it is away, or another mos-scheduler leads (docker set cluster status); ask that", host)
	case p.count[host] >= mostSessions:
		p.mu.Unlock()
		return nil, nil, fault.Exhausted("host %s has %d sessions, and may have no more at once", host, mostSessions)
	}
	if p.open == nil {
		p.open, p.count = map[string]*offered{}, map[string]int{}
	}
	p.open[o.ID] = wait
	p.count[host]++
	p.mu.Unlock()
	done = sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.count[host]--; p.count[host] == 0 {
			delete(p.count, host)
		}
	})
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
	delete(p.open, o.ID) // it comes no more after this
	p.mu.Unlock()
	select {
	case rw = <-wait.came:
		_ = rw.Close()
	default:
	}
	done()
	return nil, nil, fault.Unavailable("host %s did not come for the session: %w", host, ctx.Err())
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
	wait.came <- rw
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
