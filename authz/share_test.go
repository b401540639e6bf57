package authz

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/authz/api"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/internal/testx"
)

// policyOfTwo has tenant a as uid 7001, of whom shares are small, and b as 7002.
const policyOfTwo = `version = 1
[[who]]
name = 'a'
uid = [7001]
profile = 'little'
[[who]]
name = 'b'
uid = [7002]
profile = 'tenant'
[profile.little]
based = 'tenant'
[profile.little.limits]
requests = 10
burst = 20
connections = 4
`

// clock is one that stands.
type clock struct {
	mu sync.Mutex // guards all below
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// guardedAs serves the guarded socket to connections that the kernel would say are of a user.
func (h *house) guardedAs(t *testing.T, uid uint32) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h.newProxy(), ConnContext: withPeer, ReadHeaderTimeout: time.Minute}
	of := func(net.Conn) (policy.Who, error) { return policy.Who{Unix: true, UID: uid}, nil }
	var work sync.WaitGroup
	work.Go(func() { _ = srv.Serve(&guardedListener{l, h.Daemon, of}) })
	t.Cleanup(func() {
		_ = srv.Close()
		work.Wait()
	})
	return socket
}

func kept(t *testing.T, socket string) *http.Client {
	t.Helper()
	tr := &http.Transport{DialContext: dialer(socket), MaxIdleConnsPerHost: 100}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// fetch returns the code, what was said and when to try again.
func fetch(c *http.Client, uri string) (code int, body, after string, err error) {
	resp, err := c.Get("http://docker" + uri)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), resp.Header.Get("Retry-After"), err
}

// TestAFloodKeepsNobodyElseOut: what exceeds a user's share does not reach the Engine, and
// another user is served beside it.
func TestAFloodKeepsNobodyElseOut(t *testing.T) {
	h := open(t, policyOfTwo)
	begin := time.Now()
	a, b := h.guardedAs(t, 7001), kept(t, h.guardedAs(t, 7002))
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var refused, cut atomic.Int64
	for range 45 { // each with a connection of its own, of which most are beyond all
		c := kept(t, a)
		work.Go(func() {
			for ctx.Err() == nil {
				switch code, _, _, err := fetch(c, "/v1.45/containers/json"); {
				case err != nil:
					cut.Add(1)
					time.Sleep(time.Millisecond) // else this process does nothing else
				case code == http.StatusTooManyRequests:
					refused.Add(1)
				case code != http.StatusOK:
					t.Errorf("got %d", code)
				}
			}
		})
	}
	testx.Eventually(t, time.Minute, func() error {
		if refused.Load() < 30 || cut.Load() < 30 {
			return fmt.Errorf("%d are refused, %d cut off", refused.Load(), cut.Load())
		}
		return nil
	})
	for range 30 {
		if code, body, _, err := fetch(b, "/v1.45/volumes"); code != http.StatusOK {
			t.Fatalf("b got %d %s, %v", code, body, err)
		}
	}
	stop()
	work.Wait()
	h.stub.mu.Lock()
	defer h.stub.mu.Unlock()
	ofA := 0
	for _, r := range h.stub.seen {
		if strings.HasSuffix(r.URL.Path, "/containers/json") {
			ofA++
		}
	}
	if most := 20 + int(10*time.Since(begin).Seconds()) + 1; ofA == 0 || ofA > most {
		t.Errorf("%d requests of the flood reached the Engine, want some and %d at most", ofA, most)
	}
}

func TestWhoExceedsHisShareIsToldSo(t *testing.T) {
	h := open(t, policyOfTwo)
	time0 := &clock{at: time.Now()}
	h.shares.now = time0.now
	c := kept(t, h.guardedAs(t, 7001))
	for range 20 {
		if code, body, _, err := fetch(c, "/v1.45/containers/json"); code != http.StatusOK {
			t.Fatalf("got %d %s, %v", code, body, err)
		}
	}
	code, body, after, err := fetch(c, "/v1.45/containers/json?all=s3cret")
	var e struct {
		Message string `json:"message"`
	}
	if err != nil || json.Unmarshal([]byte(body), &e) != nil || code != http.StatusTooManyRequests || after != "1" ||
		e.Message != "mos-authz: too many requests: 10 a second, 20 at once are the share of user 7001 of this socket (limits.requests): try again in 1 s" {
		t.Errorf("got %d %s, %q, %v", code, body, after, err)
	}
	for i := range 11 { // by which a client learns the version to speak, but not without an end
		if code, _, _, err := fetch(c, "/_ping"); err != nil || (code == http.StatusOK) != (i < 10) {
			t.Errorf("ping %d: got %d, %v", i, code, err)
		}
	}
	if _, _, after, _ := fetch(c, "/v1.45/containers/json"); after != "2" {
		t.Errorf("after the pings: got %q", after)
	}
	time0.forward(1100 * time.Millisecond)
	if code, _, _, err := fetch(c, "/v1.45/containers/json"); code != http.StatusOK || err != nil {
		t.Errorf("later: got %d, %v", code, err)
	}
	// A flood is a line, and one about its rest.
	for range 3 {
		_, _, _, _ = fetch(c, "/v1.45/containers/json")
	}
	if got := len(h.noted(t)); got != 1 {
		t.Errorf("got %d lines", got)
	}
	time0.forward(toldApart)
	testx.Eventually(t, time.Minute, func() error {
		if got := len(h.noted(t)); got != 2 {
			return fmt.Errorf("got %d lines", got)
		}
		return nil
	})
	first, rest := h.noted(t)[0], h.noted(t)[1]
	if first.Times != 1 || first.Path != "/v1.45/containers/json" || first.Who != "uid 7001" || first.Subject != "a" || first.Decision != "deny" {
		t.Errorf("got %+v", first)
	}
	total := h.metric(t, "mos_authz_limited_total")
	if float64(first.Times+rest.Times) != total || total < 4 {
		t.Errorf("got %+v, counted are %v", rest, total)
	}
	// Who has nothing in use is forgotten.
	c.CloseIdleConnections()
	time0.forward(time.Hour)
	testx.Eventually(t, time.Minute, func() error {
		h.shares.mu.Lock()
		defer h.shares.mu.Unlock()
		if n := len(h.shares.by); n > 0 {
			return fmt.Errorf("%d are remembered", n)
		}
		return nil
	})
}

// metric is the sum of all of a name.
func (h *house) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := h.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// noted are the lines of the audit log about shares.
func (h *house) noted(t *testing.T) (lines []Line) {
	t.Helper()
	text, err := os.ReadFile(h.cfg.Audit.File)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var l Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(l.Rule, "limits.") {
			lines = append(lines, l)
		}
	}
	return lines
}

// TestConnectionsOfOneUserAreCounted until they are closed, streams too, whatever they
// became meanwhile.
func TestConnectionsOfOneUserAreCounted(t *testing.T) {
	h := open(t, policyOfTwo)
	socket := h.guardedAs(t, 7001)
	var open []net.Conn
	for i := range 4 {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
		if i == 0 { // is a stream from now on
			_, _ = io.WriteString(c, "POST /v1.45/containers/mine/attach?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n")
		} else {
			_, _ = io.WriteString(c, call("GET", "/_ping", ""))
		}
		want := map[bool]int{true: http.StatusSwitchingProtocols, false: http.StatusOK}[i == 0]
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Fatalf("%d: got %s", i, resp.Status)
		}
	}
	codes, bodies := h.ask(t, socket, call("GET", "/_ping", "")+call("GET", "/_ping", ""), 2)
	if codes[0] != http.StatusTooManyRequests || codes[1] != 0 || !strings.Contains(bodies[0], `"message":"mos-authz: too many connections: user 7001 has 4 open`) {
		t.Errorf("got %v %q", codes, bodies)
	}
	// Those beyond are cut off when they say nothing, and the next ones at once.
	var spare []net.Conn
	for range spareConnections {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		spare = append(spare, c)
	}
	if codes, bodies := h.ask(t, socket, call("GET", "/_ping", ""), 1); codes[0] != 0 {
		t.Errorf("beyond all: got %v %q", codes, bodies)
	}
	for _, c := range spare {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("a connection beyond the share: got %d bytes, %v", n, err)
		}
	}
	if got := h.metric(t, "mos_authz_connections"); got < 4 {
		t.Errorf("%v connections are counted", got)
	}
	// The stream's place is free once it is closed.
	open[0].Close()
	testx.Eventually(t, time.Minute, func() error {
		if codes, bodies := h.ask(t, socket, call("GET", "/_ping", ""), 1); codes[0] != http.StatusOK {
			return fmt.Errorf("got %v %q", codes, bodies)
		}
		return nil
	})
}

func TestAShareIsOnlyNotedWhereThePolicyOnlyNotes(t *testing.T) {
	h := open(t, strings.Replace(policyOfTwo, "based = 'tenant'", "based = 'tenant'\nmode = 'warn'", 1))
	c := kept(t, h.guardedAs(t, 7001))
	for range 30 {
		if code, body, _, err := fetch(c, "/v1.45/containers/json"); code != http.StatusOK {
			t.Fatalf("got %d %s, %v", code, body, err)
		}
	}
	if l := h.noted(t); len(l) != 1 || l[0].Decision != "warn" {
		t.Errorf("got %+v", l)
	}
	e, err := api.New(h.cfg.Admin).Explain(t.Context(), api.ExplainRequest{Who: "uid=7001", Method: "GET", URI: "/_ping"})
	if err != nil || e.Share != "10 requests a second, 20 at once; 4 connections" {
		t.Errorf("got %+v, %v", e, err)
	}
}
