package bench

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/test/lab"
)

// client speaks HTTP over a unix socket.
func client(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
}

// callTimes is how many milliseconds the daemon has spent in each call so far.
func callTimes(b *testing.B, h *lab.Host) map[string]float64 {
	b.Helper()
	c := client(h.Path("/run/mos/mosbridge.sock"))
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://mos/metrics", nil)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	times := map[string]float64{}
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		labels, ok := strings.CutPrefix(s.Text(), "mos_plugin_call_seconds_sum{")
		labels, value, cut := strings.Cut(labels, "} ")
		if !ok || !cut {
			continue
		}
		_, method, _ := strings.Cut(labels, `method="`)
		method, _, _ = strings.Cut(method, `"`)
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			b.Fatal(err)
		}
		times[method] += v * 1000
	}
	return times
}

// since is what each call took between two looks.
func since(before, after map[string]float64) map[string]float64 {
	diff := map[string]float64{}
	for m, v := range after {
		if d := v - before[m]; d > 0 {
			diff[m] = d
		}
	}
	return diff
}

func sum(times map[string]float64) float64 {
	var s float64
	for _, v := range times {
		s += v
	}
	return s
}
