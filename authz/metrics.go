package authz

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mosdocker/mosdocker/authz/judge"
)

type metrics struct {
	registry  *prometheus.Registry
	decisions *prometheus.CounterVec
	took      *prometheus.HistogramVec
	reloads   *prometheus.CounterVec

	connections prometheus.Gauge
	limited     *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mos_authz_decisions_total", Help: "Decisions, by front (plugin, socket) and decision (allow, deny, warn, audit).",
		}, []string{"front", "decision"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mos_authz_decision_seconds", Help: "Time of a decision with its lookups, by front.",
			Buckets: []float64{.000005, .00001, .00005, .0001, .0005, .001, .002, .005, .01, .1, 1, 5},
		}, []string{"front"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mos_authz_reloads_total", Help: "Readings of the policy file, by result (ok, error).",
		}, []string{"result"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mos_authz_connections", Help: "Open connections of the guarded socket."}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mos_authz_limited_total", Help: "What exceeded its user's share of the guarded socket, by limit (requests, connections) and subject of the policy.",
		}, []string{"limit", "subject"}),
	}
	m.registry.MustRegister(m.decisions, m.took, m.reloads, m.connections, m.limited)
	return m
}

func (m *metrics) decided(front judge.Front, v judge.Verdict, took time.Duration) {
	m.decisions.WithLabelValues(frontName(front), decision(v)).Inc()
	m.took.WithLabelValues(frontName(front)).Observe(took.Seconds())
}

func (m *metrics) reload(ok bool) {
	result := "error"
	if ok {
		result = "ok"
	}
	m.reloads.WithLabelValues(result).Inc()
}
