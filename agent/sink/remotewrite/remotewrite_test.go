package remotewrite

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/agent/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fields reads a message; the values of a field are its bytes or its number.
func fields(b []byte) (map[protowire.Number][][]byte, map[protowire.Number]uint64, error) {
	bodies, numbers := map[protowire.Number][][]byte{}, map[protowire.Number]uint64{}
	for len(b) > 0 {
		f, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		b = b[n:]
		switch kind { //nolint:exhaustive // the others are not in these messages
		case protowire.BytesType:
			v, m := protowire.ConsumeBytes(b)
			if m < 0 {
				return nil, nil, protowire.ParseError(m)
			}
			bodies[f], n = append(bodies[f], v), m
		case protowire.VarintType:
			numbers[f], n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			numbers[f], n = protowire.ConsumeFixed64(b)
		default:
			return nil, nil, fmt.Errorf("kind %v", kind)
		}
		if n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		b = b[n:]
	}
	return bodies, numbers, nil
}

// decode reads a request as the specification of remote write 1.0 says, and
// refuses what it forbids.
func decode(r *http.Request, body []byte) (points []sinktest.Point, err error) {
	for k, want := range map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"} {
		if r.Header.Get(k) != want {
			return nil, fmt.Errorf("%s: %q", k, r.Header.Get(k))
		}
	}
	plain, err := s2.Decode(nil, body)
	if err != nil {
		return nil, err
	}
	request, _, err := fields(plain)
	if err != nil {
		return nil, err
	}
	for _, series := range request[1] {
		s, _, err := fields(series)
		if err != nil || len(s[2]) != 1 {
			return nil, fmt.Errorf("series: %w", err)
		}
		labels, names := map[string]string{}, []string{}
		for _, l := range s[1] {
			kv, _, err := fields(l)
			if err != nil {
				return nil, err
			}
			labels[string(kv[1][0])] = string(kv[2][0])
			names = append(names, string(kv[1][0]))
		}
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) || labels["job"] != "mosd" || labels["instance"] != "h1" {
			return nil, fmt.Errorf("labels %q", names)
		}
		_, sample, err := fields(s[2][0])
		if err != nil {
			return nil, err
		}
		p := sinktest.Point{
			Time: time.UnixMilli(int64(sample[2])), Name: labels["__name__"], Dim: labels["device"], Value: math.Float64frombits(sample[1]),
			Object: labels["name"], Tags: sinktest.Tags(func(k string) string { return labels[k] }),
		}
		if p.Object == "" {
			p.Object = labels["set"]
		}
		if p.Object == "" {
			p.Object = labels["instance"]
		}
		points = append(points, p)
	}
	return points, nil
}

func names(scope metric.Scope, name string) string {
	if name == "my.memory" {
		return "my_memory"
	}
	prefix := "container_"
	if scope != metric.Container {
		prefix = "mos_" + scope.String() + "_"
	}
	return prefix + map[string]string{"cpu.user": "cpu_user_seconds_total", "io.read": "fs_reads_bytes_total"}[name]
}

func TestSuite(t *testing.T) {
	sinktest.Suite(t, sinktest.Case{
		New: func(c sink.Config) (sink.Backend, error) { return New(sink.HTTPConfig{Config: c}) },
		Receiver: func(tb testing.TB) sinktest.Receiver {
			tb.Helper()
			return sinktest.NewHTTP(tb, "/api/v1/write", decode)
		},
		Name: func(scope metric.Scope, name string) string { return names(scope, name) },
	})
	http.DefaultClient.CloseIdleConnections()
}

func TestEncodingAllocatesNothing(t *testing.T) {
	b, err := New(sink.HTTPConfig{Config: sink.Config{URL: "http://x/"}})
	if err != nil {
		t.Fatal(err)
	}
	sinktest.Allocations(t, b, 0)
}
