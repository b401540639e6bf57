package falcon

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/rpc"
	"net/rpc/jsonrpc"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/agent/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Value is a metric as Open-Falcon's common/model has it.
type Value struct {
	Endpoint  string  `json:"endpoint"`
	Metric    string  `json:"metric"`
	Value     float64 `json:"value"`
	Step      int64   `json:"step"`
	Type      string  `json:"counterType"`
	Tags      string  `json:"tags"`
	Timestamp int64   `json:"timestamp"`
}

// points checks values as rpc_transfer.go does.
func points(values []Value) (out []sinktest.Point, err error) {
	for _, v := range values {
		tags := map[string]string{}
		for t := range strings.SplitSeq(v.Tags, ",") {
			k, val, _ := strings.Cut(t, "=")
			tags[k] = val
		}
		if v.Endpoint != "h1" || v.Metric == "" || v.Step != 60 || v.Type != "COUNTER" && v.Type != "GAUGE" || len(v.Metric)+len(v.Tags) > 510 {
			return nil, fmt.Errorf("value %+v", v)
		}
		p := sinktest.Point{Time: time.Unix(v.Timestamp, 0), Object: tags["container"], Name: v.Metric, Dim: tags["device"], Value: v.Value, Tags: sinktest.Tags(func(k string) string { return tags[k] })}
		if p.Object == "" {
			p.Object = tags["set"]
		}
		if p.Object == "" {
			p.Object = v.Endpoint
		}
		out = append(out, p)
	}
	return out, nil
}

func decode(r *http.Request, body []byte) ([]sinktest.Point, error) {
	if r.ContentLength <= 0 { // the agent says "body is blank" then
		return nil, errors.New("no length")
	}
	var values []Value
	if err := json.Unmarshal(body, &values); err != nil {
		return nil, err
	}
	return points(values)
}

// Transfer serves JSON-RPC by the package that Open-Falcon uses.
type Transfer struct {
	l     net.Listener
	work  sync.WaitGroup
	mu    sync.Mutex // guards all below
	all   []sinktest.Point
	down  bool
	wrong bool
}

// update takes values.
func (tr *Transfer) update(values []Value, reply *Reply) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	reply.Total, reply.Message = len(values), "ok"
	switch {
	case tr.down:
		return errors.New("not now")
	case tr.wrong:
		tr.wrong, reply.Invalid = false, len(values)
		return nil
	}
	ps, err := points(values)
	tr.all = append(tr.all, ps...)
	return err
}

func newTransfer(tb testing.TB) *Transfer {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tr := &Transfer{l: l}
	s := rpc.NewServer()
	if err := s.RegisterName("Transfer", &service{tr}); err != nil {
		tb.Fatal(err)
	}
	tr.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.ServeCodec(jsonrpc.NewServerCodec(c))
		}
	})
	tb.Cleanup(func() { l.Close(); tr.work.Wait() })
	return tr
}

// service is what of a transfer is served.
type service struct{ t *Transfer }

// Reply is TransferResponse of common/model.
type Reply struct {
	Message        string
	Total, Invalid int
	Latency        int64
}

// Update is the call.
func (s *service) Update(values []Value, reply *Reply) error { return s.t.update(values, reply) }

// URL is where it is.
func (tr *Transfer) URL() string { return "tcp://" + tr.l.Addr().String() }

// Points are what came.
func (tr *Transfer) Points() []sinktest.Point {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.all)
}

// Down fails all calls.
func (tr *Transfer) Down(down bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.down = down
}

// RefuseNext calls all values of the next batch invalid.
func (tr *Transfer) RefuseNext() bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.wrong = true
	return true
}

func TestSuite(t *testing.T) {
	for name, receiver := range map[string]func(tb testing.TB) sinktest.Receiver{
		"agent": func(tb testing.TB) sinktest.Receiver {
			tb.Helper()
			h := sinktest.NewHTTP(tb, "/v1/push", decode)
			h.Answer = []byte("success")
			return h
		},
		"transfer": func(tb testing.TB) sinktest.Receiver {
			tb.Helper()
			return newTransfer(tb)
		},
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Suite(t, sinktest.Case{
				New: func(c sink.Config) (sink.Backend, error) {
					return New(Config{HTTPConfig: sink.HTTPConfig{Config: c}}, time.Minute)
				},
				Receiver: receiver,
				Name: func(scope metric.Scope, name string) string {
					if name == "my.memory" {
						return name
					}
					return scope.String() + "." + name
				},
			})
		})
	}
}

func TestWhatTheServerWouldRefuseIsNotSent(t *testing.T) {
	f, err := New(Config{HTTPConfig: sink.HTTPConfig{Config: sink.Config{URL: "http://x/"}}, Endpoint: "object"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	selector, err := sink.NewSelector(sink.Options{Scopes: []string{"container"}, Tags: []string{"odd=a,b=c d"}, Labels: []string{"long"}})
	if err != nil {
		t.Fatal(err)
	}
	s := sinktest.Fill(sinktest.Sample(), 0)
	s.Points[3].Object.Labels = map[string]string{"long": strings.Repeat("x", 600)}
	in := sink.Batch{Time: s.Time, Host: "h1"}
	in.Items, in.Changed = selector.Items(s)
	var got []Value
	if err := json.Unmarshal(f.Encode(nil, &in), &got); err != nil {
		t.Fatal(err)
	}
	for _, v := range got {
		if v.Endpoint != "web_1.a" || !strings.Contains(v.Tags, "odd=a_b_c_d") || v.Step != 1 {
			t.Errorf("%+v", v)
		}
	}
	if len(got) != 3 {
		t.Errorf("%d values, want those of one container", len(got))
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	f, err := New(Config{HTTPConfig: sink.HTTPConfig{Config: sink.Config{URL: "http://x/"}}}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	sinktest.Allocations(t, f, 0)
}
