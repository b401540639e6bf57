package mosbridge

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mosdocker/mosdocker/mosbridge/flow"
)

// metrics are what the driver counts by itself; plugin calls are counted by
// the server that takes them.
type metrics struct {
	registry *prometheus.Registry
	repairs  *prometheus.CounterVec
	took     prometheus.Histogram
	steps    prometheus.Counter
}

// repairs is what the last repair came to.
type repairs struct {
	At    time.Time
	Took  time.Duration
	Steps int
	Err   string
	// Engine is why Docker did not answer; "" when it did.
	Engine string
}

// scrapeLimit bounds the questions that one scrape asks Open vSwitch.
const scrapeLimit = 3 * time.Second

func newMetrics(d *Driver) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mos_bridge_repairs_total", Help: "Repairs, by result: clean, changed or failed.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mos_bridge_repair_seconds", Help: "Time a repair took, looking included.",
			Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30},
		}),
		steps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mos_bridge_repair_steps_total", Help: "Steps that repairs planned.",
		}),
	}
	m.registry.MustRegister(m.repairs, m.took, m.steps, &collector{d: d})
	return m
}

// noteRepair remembers and counts a repair.
func (d *Driver) noteRepair(start time.Time, steps int, err error) {
	r := repairs{At: start, Took: time.Since(start), Steps: steps}
	result := "clean"
	if steps > 0 {
		result = "changed"
	}
	if err != nil {
		result, r.Err = "failed", err.Error()
	}
	d.metrics.repairs.WithLabelValues(result).Inc()
	d.metrics.took.Observe(r.Took.Seconds())
	d.metrics.steps.Add(float64(steps))
	d.mu.Lock()
	defer d.mu.Unlock()
	r.Engine = d.repairs.Engine
	d.repairs = r
}

// noteEngine remembers whether Docker answered.
func (d *Driver) noteEngine(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.repairs.Engine = ""
	if err != nil {
		d.repairs.Engine = err.Error()
	}
}

// collector reads what others hold at the moment of a scrape.
type collector struct{ d *Driver }

type gauge struct {
	desc  *prometheus.Desc
	value float64
	label []string
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mos_bridge_"+name, help, labels, nil)
}

// Describe sends nothing: the collector is unchecked, since what it sends
// depends on which bridges there are.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit) //nolint:forbidigo // a scrape has no context
	defer cancel()
	gauges := c.record()
	for _, name := range c.d.bridgeNames() {
		gauges = append(gauges, c.bridge(ctx, name)...)
	}
	for _, g := range gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value, g.label...)
	}
}

func (c *collector) record() []gauge {
	joined, bound := 0, 0
	for _, e := range c.d.rec.allEndpoints() {
		if e.Joined {
			joined++
		}
		bound += len(e.Bound)
	}
	return []gauge{
		{desc("networks", "Networks in the record."), float64(len(c.d.rec.allNetworks())), nil},
		{desc("endpoints", "Endpoints in the record."), float64(len(c.d.rec.allEndpoints())), nil},
		{desc("endpoints_joined", "Endpoints whose container runs."), float64(joined), nil},
		{desc("published_ports", "Ports of the host that lead to containers."), float64(bound), nil},
		{desc("leases", "Addresses held or kept."), float64(len(c.d.addrs.Leases(""))), nil},
	}
}

func (c *collector) bridge(ctx context.Context, name string) []gauge {
	flows, err := c.d.fab.ovs.DumpFlows(ctx, name, flow.Match())
	up := 1.0
	if err != nil {
		up = 0
	}
	gs := []gauge{
		{desc("up", "Whether Open vSwitch serves the bridge.", "bridge"), up, []string{name}},
		{desc("flows", "Our flows on the bridge.", "bridge"), float64(len(flows)), []string{name}},
	}
	stats := make([]flow.Stat, len(flows))
	for i, f := range flows {
		stats[i] = flow.Stat{Cookie: flow.Cookie(f.Cookie), Table: f.Table, Packets: f.Packets, Bytes: f.Bytes}
	}
	for reason, n := range flow.DropCounts(stats) {
		gs = append(gs, gauge{desc("dropped_packets", "Packets dropped, by reason.", "bridge", "reason"), float64(n), []string{name, reason}})
	}
	return gs
}

// bridgeNames lists the bridges that have networks.
func (d *Driver) bridgeNames() []string {
	var names []string
	seen := map[string]bool{}
	for _, n := range d.rec.allNetworks() {
		if !seen[n.Network.Bridge] {
			seen[n.Network.Bridge] = true
			names = append(names, n.Network.Bridge)
		}
	}
	return names
}
