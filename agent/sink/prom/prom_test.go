package prom

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/internal/testx"
)

func sample() *metric.Sample {
	point := func(o *metric.Object, usage float64) *metric.Point {
		p := metric.NewPoint(o)
		p.Set(metric.CPUUsage, usage)
		p.Set(metric.MemLimitHits, 3)
		p.SetAt(p.Add(metric.IOReadBytes, "/dev/vda"), 4096)
		p.Add(metric.IOReadBytes, "/dev/vdb") // without a value
		return p
	}
	return &metric.Sample{Time: time.Unix(1_700_000_000, 0), Generation: 1, Points: []*metric.Point{
		point(&metric.Object{Scope: metric.Host, ID: "h1", Name: "h1"}, 1000),
		point(&metric.Object{Scope: metric.Set, ID: "shop", Name: "shop", Set: "shop"}, 30),
		point(&metric.Object{Scope: metric.Container, Cgroup: "/docker/0a", Name: "a\"b\\c\nd\xff", Image: "img:1", Set: "shop", Member: "app", Labels: map[string]string{"com.example/team": "x", "name": "liar"}}, 12.345678),
		point(&metric.Object{Scope: metric.Container, Cgroup: "/docker/0b", Name: "other", Image: "img:1"}, 1e15),
	}}
}

func TestTextIsWhatPrometheusReads(t *testing.T) {
	text, err := New(sink.Options{Labels: []string{"com.example/team", "name"}, Tags: []string{"dc=north"}})
	if err != nil {
		t.Fatal(err)
	}
	s := sample()
	srv := httptest.NewServer(text.Handler(func(f func(*metric.Sample)) { f(s) }))
	defer srv.Close()
	for _, accept := range []string{"", "application/openmetrics-text; version=1.0.0"} {
		req, _ := http.NewRequest(http.MethodGet, srv.URL, nil)
		req.Header.Set("Accept", accept)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(resp.Body)
		resp.Body.Close()
		name := "plain.golden"
		if accept != "" {
			name = "open.golden"
		}
		testx.Golden(t, name, resp.Header.Get("Content-Type")+"\n"+body.String())
		if accept != "" {
			continue
		}
		p := expfmt.NewTextParser(model.LegacyValidation)
		families, err := p.TextToMetricFamilies(&body)
		if err != nil {
			t.Fatal(err)
		}
		if got := families["container_cpu_usage_seconds_total"].GetMetric()[0].GetCounter().GetValue(); got != 12.345678 {
			t.Errorf("got %v", got)
		}
	}
}

func TestOptionsChooseNameAndTag(t *testing.T) {
	text, err := New(sink.Options{
		Scopes: []string{"container", "set"}, Metrics: []string{"cpu.*", "io.read"}, Containers: []string{"*", "!oth*"},
		Names: []string{"cpu.usage=my.cpu-time"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := string(text.Append(nil, sample(), false))
	for want, n := range map[string]int{"my_cpu_time{": 2, "mos_host": 0, "other": 0, "failcnt": 0, "_fs_reads_bytes_total{": 2} {
		if strings.Count(got, want) != n {
			t.Errorf("%d times %q, want %d:\n%s", strings.Count(got, want), want, n, got)
		}
	}
}

// A name of the user's may be one that another metric has.
func TestANameThatIsTakenStaysAnothers(t *testing.T) {
	text, err := New(sink.Options{Names: []string{"cpu.usage=memory.limit.hits"}})
	if err != nil {
		t.Fatal(err)
	}
	got := string(text.Append(nil, sample(), false))
	for _, want := range []string{"\nmemory_limit_hits{", "\ncontainer_memory_failcnt{"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q:\n%s", want, got)
		}
	}
}

func TestTextFollowsTheSample(t *testing.T) {
	text, err := New(sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := sample()
	text.Append(nil, s, false)
	s.Points[3].Set(metric.CPUUsage, 77)
	if got := string(text.Append(nil, s, false)); !strings.Contains(got, `name="other"} 77`) {
		t.Errorf("values are old:\n%s", got)
	}
	s.Points, s.Generation = s.Points[:3], 2
	if got := string(text.Append(nil, s, false)); strings.Contains(got, "other") {
		t.Error("an ended container is shown")
	}
	buf := make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(20, func() { text.Append(buf, s, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Prometheus refuses names that break its rules; those of the table must not.
func TestNamesKeepTheRules(t *testing.T) {
	seen := map[string]bool{}
	for id, d := range metric.Table() {
		if d.Name == "" || d.Prom == "" || d.Help == "" || d.Unit == "" || d.In == 0 || seen[d.Prom] || seen[d.Name] {
			t.Errorf("metric %d: %+v lacks something, or is there twice", id, d)
		}
		seen[d.Name] = true
		if d.Prom != d.Name {
			seen[d.Prom] = true
		}
		if !model.LegacyValidation.IsValidMetricName("container_" + d.Prom) {
			t.Errorf("bad name %q", d.Prom)
		}
	}
}

// The labels of a container are most of a line, and it has a hundred lines: their text is
// made once and kept once.
func TestLabelsOfAContainerAreMadeOnce(t *testing.T) {
	s := many(30)
	buf := make([]byte, 0, 1<<20)
	made := testing.AllocsPerRun(5, func() {
		text, err := New(sink.Options{})
		if err != nil {
			t.Fatal(err)
		}
		buf = text.Append(buf[:0], s, false)
	})
	if lines := bytes.Count(buf, []byte("\ncontainer_")); made > float64(lines) {
		t.Errorf("%v allocations for %d lines", made, lines)
	}
}

// many is a sample of n containers with all their metrics.
func many(n int) *metric.Sample {
	s := &metric.Sample{Generation: 1}
	for i := range n {
		p := metric.NewPoint(&metric.Object{Scope: metric.Container, Cgroup: "/docker/" + strings.Repeat("0a", 32), Name: "c" + strconv.Itoa(i), Image: "img:1"})
		for k := range p.Series {
			p.Set(metric.ID(k), float64(i*k)+0.123456)
		}
		s.Points = append(s.Points, p)
	}
	return s
}

// BenchmarkText is a scrape of 30 containers with all their metrics.
func BenchmarkText(b *testing.B) {
	s := many(30)
	text, err := New(sink.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = text.Append(buf[:0], s, false)
	}
	b.ReportMetric(float64(len(buf)), "B/scrape")
}
