package zabbix

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/agent/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a trapper as the manual describes it.
type server struct {
	l    net.Listener
	work sync.WaitGroup

	scheme string

	mu           sync.Mutex // guards all below
	points       []sinktest.Point
	discovery    map[string]string
	down, refuse bool
}

func newServer(tb testing.TB, secure *tls.Config) *server {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &server{l: l, scheme: "tcp", discovery: map[string]string{}}
	if secure != nil {
		s.scheme, l = "tls", tls.NewListener(l, secure)
	}
	s.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.serve(tb, c)
		}
	})
	tb.Cleanup(func() { l.Close(); s.work.Wait() })
	return s
}

func (s *server) serve(tb testing.TB, c net.Conn) {
	tb.Helper()
	defer c.Close()
	head := make([]byte, 13)
	if _, err := io.ReadFull(c, head); err != nil {
		return // a client that was told to end; what was to come is looked for by the test
	}
	if string(head[:5]) != "ZBXD\x01" || binary.LittleEndian.Uint32(head[9:]) != 0 {
		tb.Errorf("header %q", head)
		return
	}
	body := make([]byte, binary.LittleEndian.Uint32(head[5:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return // the same
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return // as a server that is restarted
	}
	answer := `{"response":"success","info":"processed: 9; failed: 2; total: 11; seconds spent: 0.001"}`
	if s.refuse {
		s.refuse = false
		answer = `{"response":"success","info":"processed: 0; failed: 11; total: 11; seconds spent: 0.001"}`
	} else if err := s.take(body); err != nil {
		tb.Error(err)
	}
	reply := binary.LittleEndian.AppendUint64([]byte("ZBXD\x01"), uint64(len(answer)))
	_, _ = c.Write(append(reply, answer...))
}

func (s *server) take(body []byte) error {
	var request struct {
		Request string `json:"request"`
		Data    []struct {
			Host  string `json:"host"`
			Key   string `json:"key"`
			Value string `json:"value"`
			Clock int64  `json:"clock"`
			NS    int64  `json:"ns"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &request); err != nil || request.Request != "sender data" {
		return fmt.Errorf("request %q: %w", body, err)
	}
	for _, d := range request.Data {
		if d.Host != "h1" {
			return fmt.Errorf("host %q", d.Host)
		}
		if strings.HasPrefix(d.Key, "mos.discovery.") {
			s.discovery[d.Key] = d.Value
			continue
		}
		v, err := strconv.ParseFloat(d.Value, 64)
		if err != nil {
			return err
		}
		p := sinktest.Point{Time: time.Unix(d.Clock, d.NS), Object: d.Host, Value: v}
		name, params, _ := strings.Cut(strings.TrimSuffix(d.Key, "]"), "[")
		p.Name = name
		list := strings.Split(params, ",")
		for _, dim := range []string{"/dev/vda"} {
			if list[len(list)-1] == dim {
				p.Dim, list = dim, list[:len(list)-1]
			}
		}
		if len(list) == 1 && list[0] != "" {
			p.Object = list[0]
		}
		s.points = append(s.points, p)
	}
	return nil
}

func (s *server) URL() string { return s.scheme + "://" + s.l.Addr().String() }

func (s *server) Points() []sinktest.Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sinktest.Point(nil), s.points...)
}

func (s *server) Down(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *server) RefuseNext() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = true
	return true
}

func TestSuite(t *testing.T) {
	secure, files := sinktest.TLS(t)
	for name, server := range map[string]*tls.Config{"plain": nil, "TLS": secure} {
		t.Run(name, func(t *testing.T) {
			sinktest.Suite(t, sinktest.Case{
				New: func(c sink.Config) (sink.Backend, error) { return New(Config{Config: c, TLSConfig: files}) },
				Receiver: func(tb testing.TB) sinktest.Receiver {
					tb.Helper()
					return newServer(tb, server)
				},
				Name: func(scope metric.Scope, name string) string {
					if name == "my.memory" {
						return name
					}
					return "mos." + scope.String() + "." + name
				},
				Tagless: true,
			})
		})
	}
}

func TestDiscoveryComesWithChangesAndNowAndThen(t *testing.T) {
	s := newServer(t, nil)
	z, err := New(Config{Config: sink.Config{URL: s.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	selector, err := sink.NewSelector(sink.Options{Scopes: []string{"container", "set"}})
	if err != nil {
		t.Fatal(err)
	}
	sample := sinktest.Sample()
	send := func(minute int) int {
		sinktest.Fill(sample, minute)
		in := sink.Batch{Time: sample.Time, Host: "h1"}
		in.Items, in.Changed = selector.Items(sample)
		clear(s.discovery)
		if err := z.Deliver(t.Context(), z.Encode(nil, &in)); err != nil {
			t.Fatal(err)
		}
		return len(s.discovery)
	}
	if n := send(0); n != 3 {
		t.Errorf("%d rules at first, want containers, sets and devices", n)
	}
	var got []map[string]string
	if err := json.Unmarshal([]byte(s.discovery["mos.discovery.container"]), &got); err != nil || len(got) != 2 || got[0]["{#NAME}"] != "web_1.a" || got[0]["{#SET}"] != "shop" {
		t.Errorf("%v %v", got, err)
	}
	if n := send(1); n != 0 {
		t.Errorf("%d rules without a change", n)
	}
	if n := send(11); n != 3 {
		t.Errorf("%d rules after ten minutes", n)
	}
}

func TestKeysKeepTheSyntax(t *testing.T) {
	for in, want := range map[string]string{"web": "web", "a,b": `"a,b"`, `q"]`: `"q\"]"`, " x": `" x"`, "": `""`, "[x": `"[x"`} {
		if got := param(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestAnswersAreJudged(t *testing.T) {
	for body, want := range map[string]string{
		`{"response":"success","info":"processed: 1; failed: 0; total: 1; seconds spent: 0.06"}`: "",
		`{"response":"failed","info":"no"}`: "dropped",
		`nonsense`:                          "later",
	} {
		err := judge([]byte(body))
		got := ""
		if errdefs.IsInvalidArgument(err) {
			got = "dropped"
		} else if err != nil {
			got = "later"
		}
		if got != want {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	z, err := New(Config{Config: sink.Config{URL: "tcp://x:1"}})
	if err != nil {
		t.Fatal(err)
	}
	sinktest.Allocations(t, z, 0)
}
