package otlp

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/agent/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func attributes(list []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range list {
		m[kv.GetKey()] = kv.GetValue().GetStringValue()
	}
	return m
}

// decode reads a request by OpenTelemetry's own types.
func decode(r *http.Request, body []byte) (points []sinktest.Point, err error) {
	if r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Content-Encoding") != "gzip" {
		return nil, fmt.Errorf("headers %v", r.Header)
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	var request v1.ExportMetricsServiceRequest
	if err := (proto.UnmarshalOptions{}).Unmarshal(plain, &request); err != nil {
		return nil, err
	}
	if len(request.ProtoReflect().GetUnknown()) > 0 {
		return nil, fmt.Errorf("unknown fields")
	}
	for _, rm := range request.GetResourceMetrics() {
		res := attributes(rm.GetResource().GetAttributes())
		object := res["container.name"]
		if object == "" {
			object = res["mos.set"]
		}
		if object == "" {
			object = res["host.name"]
		}
		if res["host.name"] != "h1" || res["service.name"] != "mosd" {
			return nil, fmt.Errorf("resource %v", res)
		}
		for _, sm := range rm.GetScopeMetrics() {
			if sm.GetScope().GetName() != "mosd" {
				return nil, fmt.Errorf("scope %v", sm.GetScope())
			}
			for _, m := range sm.GetMetrics() {
				list := m.GetGauge().GetDataPoints()
				if s := m.GetSum(); s != nil {
					if !s.GetIsMonotonic() || s.GetAggregationTemporality() != 2 {
						return nil, fmt.Errorf("sum %v", s)
					}
					list = s.GetDataPoints()
				}
				if len(list) != 1 || m.GetUnit() == "" || m.GetDescription() == "" {
					return nil, fmt.Errorf("metric %v", m)
				}
				a := attributes(list[0].GetAttributes())
				name := strings.TrimSpace(m.GetName() + " " + a["cpu.mode"] + a["disk.io.direction"])
				points = append(points, sinktest.Point{
					Time: time.Unix(0, int64(list[0].GetTimeUnixNano())), Object: object, Name: name, Dim: a["system.device"] + a["device"], Value: list[0].GetAsDouble(),
					Tags: sinktest.Tags(func(k string) string { return res[k] + res["container.label."+k] }),
				})
			}
		}
	}
	return points, nil
}

func name(scope metric.Scope, name string) string {
	switch {
	case name == "my.memory":
		return name
	case scope == metric.Container:
		return map[string]string{"cpu.user": "container.cpu.time user", "io.read": "container.disk.io read"}[name]
	}
	return "mos." + scope.String() + "." + name
}

func TestSuite(t *testing.T) {
	sinktest.Suite(t, sinktest.Case{
		New: func(c sink.Config) (sink.Backend, error) { return New(sink.HTTPConfig{Config: c}) },
		Receiver: func(tb testing.TB) sinktest.Receiver {
			tb.Helper()
			return sinktest.NewHTTP(tb, "/v1/metrics", decode)
		},
		Name: name,
	})
}

func TestAPartThatIsRefusedIsTold(t *testing.T) {
	b, err := proto.Marshal(&v1.ExportMetricsServiceResponse{PartialSuccess: &v1.ExportMetricsPartialSuccess{RejectedDataPoints: 3, ErrorMessage: "too old"}})
	if err != nil {
		t.Fatal(err)
	}
	if n, why := rejected(b); n != 3 || why != "too old" {
		t.Errorf("got %d %q", n, why)
	}
	for _, b := range [][]byte{nil, {}, {0xff}, {0x0a, 0x7f}, []byte("<html>")} {
		if n, _ := rejected(b); n != 0 {
			t.Errorf("%q: %d", b, n)
		}
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	b, err := New(sink.HTTPConfig{Config: sink.Config{URL: "http://x/"}})
	if err != nil {
		t.Fatal(err)
	}
	sinktest.Allocations(t, b, 0)
}
