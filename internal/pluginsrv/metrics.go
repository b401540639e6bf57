package pluginsrv

import "github.com/prometheus/client_golang/prometheus"

// Results of calls, as metrics name them.
const (
	resultOK         = "ok"
	resultError      = "error"       // the handler's error
	resultBadRequest = "bad_request" // the body makes no sense
	resultDeadline   = "deadline"    // its time was over
	resultPanic      = "panic"
	resultNotReady   = "not_ready"
	resultUnknown    = "unknown" // no such call
)

type metrics struct {
	calls *prometheus.CounterVec
	took  *prometheus.HistogramVec
	open  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mos_plugin_calls_total", Help: "Plugin calls, by method and result.",
		}, []string{"method", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mos_plugin_call_seconds", Help: "Time until a plugin call was answered, by method and result.",
			Buckets: []float64{.001, .002, .005, .01, .02, .03, .06, .1, .3, 1, 3, 10, 30, 110},
		}, []string{"method", "result"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mos_plugin_calls_open", Help: "Plugin calls under way."}),
	}
	if r != nil {
		r.MustRegister(m.calls, m.took, m.open)
	}
	return m
}
