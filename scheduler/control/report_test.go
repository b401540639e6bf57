package control

import (
	"fmt"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// leads is a controller that leads hosts, and does nothing by itself.
func leads(hosts int) *Controller {
	c := New(nil, Config{})
	for i := range hosts {
		c.cache.setHost(&api.Host{Meta: api.Meta{Name: fmt.Sprint("h", i)}, Status: api.HostStatus{Machine: "m"}})
	}
	c.cache.revision = 1
	c.lead = &lead{news: make(chan struct{}, 1), beats: map[string]*beat{}, fresh: map[string]bool{}}
	return c
}

// measured is a report of a host with ten sets.
func measured(host string, seq int64, usage bool) link.Report {
	r := link.Report{Host: host, Boot: "b", Seq: seq, Sent: time.Unix(seq, 0), Status: api.HostStatus{Machine: "m", Networks: map[string]string{"prod": "p"}}}
	var u link.Usage
	for i := range 10 {
		name := fmt.Sprint("web-", i)
		r.Sets = append(r.Sets, link.SetReport{Name: name, UID: "0190d1c2-0000-7000-8000-000000000000", Phase: api.Ready})
		u.Sets = append(u.Sets, link.SetUsage{Name: name, Use: api.Use{CPU: seq, Memory: 1 << 30, Received: 1000, Sent: 2000, Read: 3000, Written: 4000}})
	}
	if usage {
		r.Usage = &u
	}
	return r
}

// TestUsageIsNoNews: nobody looks at a host for it.
func TestUsageIsNoNews(t *testing.T) {
	c := leads(1)
	report := func(r link.Report) (news bool) {
		if _, err := c.Report(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.lead.news:
			return true
		default:
			return false
		}
	}
	if !report(measured("h0", 1, true)) {
		t.Fatal("the first report is no news")
	}
	if report(measured("h0", 2, true)) || report(measured("h0", 3, false)) || report(measured("h0", 4, true)) {
		t.Error("what is used is news")
	}
	report(measured("h0", 5, false))
	report(measured("h0", 3, true)) // which was overtaken
	if b := c.lead.beats["h0"]; b.usage == nil || b.usage.Sets[0].CPU != 4 || b.report.Usage != nil {
		t.Errorf("kept is %+v", b)
	}
}

// BenchmarkReport is a heartbeat of one of 10,000 hosts with ten sets, of which nothing changed but
// what they use.
func BenchmarkReport(b *testing.B) {
	for _, usage := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "usage"}[usage], func(b *testing.B) {
			const hosts = 10_000
			c := leads(hosts)
			all := make([]link.Report, hosts)
			for i := range all {
				all[i] = measured(fmt.Sprint("h", i), 0, usage)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				r := all[i%hosts]
				r.Sent = time.Unix(int64(i), 0)
				if _, err := c.Report(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
