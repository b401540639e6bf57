package metric

import (
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// The page of metrics is printed from the table; -update writes it.
func TestDocsHaveTheTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Metrics\n\nWhat the agent measures; [metrics-agent.md](metrics-agent.md) says how and where it goes.\n" +
		"This page is printed from `agent/metric` (`go test ./agent/metric -update`).\n\n" +
		"*For*: c container, s set, h host, a the agent itself. *Kind*: counters only grow. Slow ones are read at the\n" +
		"slow interval, lazy ones of a container or set when it has used CPU time or memory since (block IO on version 1 only), and at the slow interval. *Prometheus*: the name behind `container_`, `mos_set_`, `mos_host_` or `mos_agent_`.\n\n" +
		"| name | for | kind | unit | by | Prometheus | what |\n|---|---|---|---|---|---|---|\n")
	for _, d := range Table() {
		var in, kind strings.Builder
		for _, s := range []Scope{Container, Set, Host, Agent} {
			if d.In&s != 0 {
				in.WriteByte(s.String()[0])
			}
		}
		kind.WriteString([]string{"gauge", "counter"}[d.Kind])
		if d.Slow {
			kind.WriteString(", slow")
		}
		if d.Lazy {
			kind.WriteString(", lazy")
		}
		b.WriteString("| " + strings.Join([]string{"`" + d.Name + "`", in.String(), kind.String(), strings.Trim(d.Unit, "{}"), d.Dim, "`" + d.Prom + "`", d.Help}, " | ") + " |\n")
	}
	testx.Golden(t, "../../../docs/metrics.md", b.String())
}

func TestSlowValuesStayBetweenSlowSamples(t *testing.T) {
	p := NewPoint(&Object{})
	p.Set(CPUUsage, 1)
	p.Set(MemLimit, 2)
	io := p.Add(IOReads, "a")
	p.SetAt(io, 3)
	p.Forget(false, true)
	if _, ok := p.Get(CPUUsage); ok || p.Series[io].OK {
		t.Error("an old value stayed")
	}
	if v, ok := p.Get(MemLimit); !ok || v != 2 {
		t.Error("a slow value was forgotten")
	}
	p.Forget(true, true)
	if _, ok := p.Get(MemLimit); ok {
		t.Error("a slow value outlived a slow sample")
	}
	if got := p.String(); got != "" {
		t.Errorf("got %q", got)
	}
}
