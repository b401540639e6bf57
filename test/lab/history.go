package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// History is who ran where with which address, as the Engines of all hosts told while a
// test went on.
type History struct {
	mu    sync.Mutex // guards all below
	seen  map[string]*life
	heard map[string]time.Time // when hosts were last looked at
	gaps  []string             // looks that came late, of hosts that were not off
	off   map[string]bool
}

// life is one infra container.
type life struct {
	set, host, address string
	first, last        time.Time // of the looks that saw it run
}

func (l *life) String() string {
	const clock = "15:04:05.000"
	return fmt.Sprintf("%s on %s with %s from %s to %s", l.set, l.host, l.address, l.first.Format(clock), l.last.Format(clock))
}

// looks is how often each host is looked at.
const looks = 200 * time.Millisecond

// Record looks at a fleet until the test ends, or end is called.
func (f *Fleet) Record() (_ *History, end func()) {
	y := &History{seen: map[string]*life{}, heard: map[string]time.Time{}, off: map[string]bool{}}
	ctx, stop := context.WithCancel(f.tb.Context())
	var work sync.WaitGroup
	for _, h := range f.Hosts {
		socket := h.Socket()
		c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}, Timeout: 10 * time.Second}
		work.Go(func() {
			defer c.CloseIdleConnections()
			for tick := time.NewTicker(looks); ; {
				y.look(ctx, c, h.Name)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	end = func() { stop(); work.Wait() }
	f.tb.Cleanup(end)
	return y, end
}

func (y *History) look(ctx context.Context, c *http.Client, host string) {
	q := url.Values{"filters": {`{"label":["mos.role=infra"],"status":["running"]}`}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/containers/json?"+q.Encode(), nil)
	if err != nil {
		panic(err) // it is ours
	}
	now := time.Now()
	resp, err := c.Do(r)
	if err != nil {
		return // the host is off
	}
	defer resp.Body.Close()
	var all []struct {
		ID              string            `json:"Id"`
		Labels          map[string]string `json:"Labels"`
		NetworkSettings struct {
			Networks map[string]struct {
				IPAddress string `json:"IPAddress"`
			} `json:"Networks"`
		} `json:"NetworkSettings"`
	}
	if json.NewDecoder(resp.Body).Decode(&all) != nil {
		return
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if was := y.heard[host]; !was.IsZero() && !y.off[host] && now.Sub(was) > blind {
		y.gaps = append(y.gaps, fmt.Sprintf("%s was not looked at for %v until %v", host, now.Sub(was), now))
	}
	y.heard[host], y.off[host] = now, false
	for _, x := range all {
		l := y.seen[x.ID]
		if l == nil {
			l = &life{set: x.Labels["mos.set"], host: host, first: now}
			y.seen[x.ID] = l
		}
		l.last = time.Now()
		if a := x.NetworkSettings.Networks["prod"].IPAddress; a != "" {
			l.address = a
		}
	}
}

// blind is for how long a history may not know what a host does. Two processors are shared
// by all hosts, which start and stop.
const blind = 20 * time.Second

// Gone says that a host, or its Engine, is off from here on until it answers again.
func (y *History) Gone(host string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.off[host] = true
}

// Check says whether an address was active on two hosts at a time, or a set of a service
// that has volumes of its own on two hosts at all. It returns how many containers were seen.
func (y *History) Check(tb testing.TB, volumes string) (containers int) {
	tb.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.gaps) > 0 {
		tb.Errorf("the history has gaps: %q", y.gaps)
	}
	byAddress, homes := map[string][]*life{}, map[string]*life{}
	for _, id := range slices.Sorted(maps.Keys(y.seen)) {
		l := y.seen[id]
		byAddress[l.address] = append(byAddress[l.address], l)
		if strings.HasPrefix(l.set, volumes+"-") {
			if was := homes[l.set]; was != nil && was.host != l.host {
				tb.Errorf("a set with a volume ran on two hosts: %v, and %v", was, l)
			}
			homes[l.set] = l
		}
	}
	for address, all := range byAddress {
		for i, l := range all {
			if address == "" {
				tb.Errorf("%v had no address", l)
			}
			for _, m := range all[:i] {
				if address != "" && m.host != l.host && !l.first.After(m.last) && !m.first.After(l.last) {
					tb.Errorf("an address was active twice: %v, and %v", m, l)
				}
			}
		}
	}
	return len(y.seen)
}
