package lvmvolume

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// metrics are what the driver counts by itself; plugin calls are counted by
// the server that takes them.
type metrics struct {
	registry *prometheus.Registry
	looks    *prometheus.CounterVec
	took     prometheus.Histogram
	events   *prometheus.CounterVec
	trimmed  prometheus.Counter
}

func newMetrics(d *Driver) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mos_volume_looks_total", Help: "Looks at all volumes, by result: well or failed.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mos_volume_look_seconds", Help: "Time a look took, mending included.",
			Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30},
		}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mos_volume_events_total", Help: "What the daemon did by itself, or befell it.",
		}, []string{"kind", "level"}),
		trimmed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mos_volume_trimmed_bytes_total", Help: "Bytes that trims gave back to thin pools.",
		}),
	}
	m.registry.MustRegister(m.looks, m.took, m.events, m.trimmed, &collector{d})
	return m
}

// look counts a look.
func (m *metrics) look(start time.Time, err error) {
	result := "well"
	if err != nil {
		result = "failed"
	}
	m.looks.WithLabelValues(result).Inc()
	m.took.Observe(time.Since(start).Seconds())
}

// collector reads the index and the mounted file systems at the moment of a scrape.
type collector struct{ d *Driver }

// Describe sends nothing: the collector is unchecked, since what it sends
// depends on which volumes there are.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(name, help string, v float64, labels map[string]string) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("mos_volume_"+name, help, nil, labels), prometheus.GaugeValue, v)
	}
	for _, e := range c.d.idx.all(inService) {
		l := map[string]string{"volume": e.v.Name, "id": string(e.v.ID), "type": string(e.v.Type)}
		gauge("size_bytes", "Hard limit of a volume.", float64(e.v.Size), l)
		gauge("allocated_bytes", "What a volume takes of its pool or disk.", float64(e.allocated), l)
		gauge("faulty", "Whether a volume cannot be used.", one(e.fault != nil), l)
		if u := c.d.usage(e); u != nil {
			gauge("fs_size_bytes", "Size of a volume's file system.", float64(u.Size), l)
			gauge("fs_used_bytes", "Used bytes in a volume's file system.", float64(u.Used), l)
			gauge("fs_inodes", "Inodes of a volume's file system.", float64(u.Inodes), l)
			gauge("fs_inodes_used", "Used inodes of a volume's file system.", float64(u.InodesUsed), l)
		}
	}
	for _, p := range c.d.pools() {
		c.pool(p, gauge)
	}
	gauge("trashed", "Volumes in the recycle bin.", float64(len(c.d.idx.all(inTrash))), nil)
	gauge("snapshots", "Snapshots of volumes.", float64(len(c.d.idx.all(func(v spec.Volume) bool { return isSnapshot(v) }))), nil)
	gauge("known", "Whether all volumes of the host are known.", one(c.d.idx.whole() == nil), nil)
}

func (c *collector) pool(p api.Pool, gauge func(string, string, float64, map[string]string)) {
	l := map[string]string{"pool": p.Name}
	gauge("pool_size_bytes", "Size of a pool.", float64(p.Size), l)
	gauge("pool_used_bytes", "Used bytes of a pool.", float64(p.Used), l)
	gauge("pool_data_ratio", "Fill of a pool, 0 to 1.", p.Data, l)
	gauge("pool_meta_ratio", "Fill of a pool's metadata, 0 to 1.", p.Meta, l)
	gauge("pool_virtual_bytes", "Sum of what is promised.", float64(p.Virtual), l)
	gauge("pool_limit_bytes", "Most that may be promised.", float64(p.Limit), l)
	gauge("pool_trash_bytes", "Of what is promised, what the recycle bin holds.", float64(p.Trash), l)
	gauge("pool_paused_containers", "Containers that the watchdog paused.", float64(len(p.Paused)), l)
	for _, s := range []string{api.PoolOK, api.PoolWarn, api.PoolRefuse, api.PoolPause} {
		gauge("pool_state", "State of a pool.", one(p.State == s), map[string]string{"pool": p.Name, "state": s})
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
