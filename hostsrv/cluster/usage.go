package cluster

import (
	"context"
	"math"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv"
	hostapi "github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// usageEvery is how often the last sample is looked at. Those are taken at the agent's
// interval, whoever looks.
const usageEvery = time.Second

// Measure says what the host and its sets use by the last sample, and whether there is one. It
// may take long, as what it measures does.
type Measure func() (hostapi.Top, bool)

// Usage has reports say what is used; without it they do not. It is called before [Host.Run].
func (h *Host) Usage(m Measure) { h.measure = m }

// measureAlways keeps what is used for the next report, which waits for nothing.
func (h *Host) measureAlways(ctx context.Context) {
	tick := time.NewTicker(usageEvery)
	defer tick.Stop()
	for h.measure != nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !h.isLinked() {
			continue
		}
		if t, ok := h.measure(); ok {
			h.mu.Lock()
			h.used = t
			h.mu.Unlock()
		}
	}
}

// usage is what was measured since the last report that was heard, of the host and of its sets
// of the cluster; nil if nothing was. The caller holds mu.
func (h *Host) usage(told map[string]hostsrv.Told) *link.Usage {
	if h.used.At.Equal(h.usageHeard) {
		return nil
	}
	h.usageSaid = h.used.At
	u := &link.Usage{At: h.used.At.UTC().Truncate(time.Millisecond)}
	uids := map[string]string{}
	for _, one := range h.rec.Assignment.Sets {
		uids[one.Name] = one.UID
	}
	for i := range h.used.Uses {
		switch x := &h.used.Uses[i]; x.Scope {
		case "host":
			u.Host = useOf(x)
		case "set":
			if uid := uids[x.Name]; uid != "" && told[x.Name].UID == uid {
				u.Sets = append(u.Sets, link.SetUsage{Name: x.Name, Use: useOf(x)})
			}
		}
	}
	return u
}

func useOf(x *hostapi.Use) api.Use {
	whole := func(n float64) int64 { return int64(math.Round(n)) }
	u := api.Use{
		CPU: -1, Memory: whole(x.Memory), Received: whole(x.Received), Sent: whole(x.Sent), Read: whole(x.Read), Written: whole(x.Written),
	}
	if x.CPU >= 0 {
		u.CPU = whole(1000 * x.CPU)
	}
	return u
}
