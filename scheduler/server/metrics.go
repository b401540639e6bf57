package server

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mosdocker/mosdocker/scheduler/state"
)

type metrics struct {
	calls   *prometheus.HistogramVec
	streams prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, store *state.Store) *metrics {
	m := &metrics{
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mos_scheduler_request_seconds", Help: "Time of requests by operation and status; of watches, how long they lasted.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"operation", "status"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mos_scheduler_watches", Help: "Watches that are open."}),
	}
	r.MustRegister(m.calls, m.streams, &storeCollector{store})
	return m
}

func (m *metrics) done(o operation, status int, took time.Duration) {
	m.calls.WithLabelValues(o.id, strconv.Itoa(status)).Observe(took.Seconds())
}

// storeCollector asks etcd when it is scraped.
type storeCollector struct{ store *state.Store }

func describeStore() map[string]*prometheus.Desc {
	one := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("mos_scheduler_store_"+name, help, labels, nil)
	}
	return map[string]*prometheus.Desc{
		"up":    one("up", "Whether a quorum of etcd answers."),
		"bytes": one("db_bytes", "Bytes of a server's database.", "server"),
		"quota": one("quota_bytes", "Bytes that a server's database may have.", "server"),
		"alarm": one("alarms", "Alarms of etcd; with one of space it takes no writes."),
	}
}

// Describe implements [prometheus.Collector].
func (*storeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range describeStore() {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *storeCollector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) //nolint:forbidigo // a scrape has none
	defer cancel()
	all := describeStore()
	h, err := c.store.Health(ctx)
	up := 1.0
	if err != nil {
		up = 0
	}
	gauge := func(name string, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(all[name], prometheus.GaugeValue, v, labels...)
	}
	gauge("up", up)
	gauge("alarm", float64(len(h.Alarms)))
	for _, s := range h.Servers {
		if s.Err == nil {
			gauge("bytes", float64(s.Size), s.Name)
			gauge("quota", float64(s.Quota), s.Name)
		}
	}
}
