package server_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/server"
)

// TestWhoAsksTooOftenWaits: by name, with a Retry-After, and not who owns the host.
func TestWhoAsksTooOftenWaits(t *testing.T) {
	t.Parallel()
	const burst = 5
	r := newRig(t, server.Config{Rate: 0.01, Burst: burst})
	secret := map[string]string{}
	for _, name := range []string{"ci", "other"} {
		made, err := r.CreateToken(t.Context(), api.TokenRequest{Name: name, Role: api.ReadOnly})
		must(t, err)
		secret[name] = made.Secret
	}
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
	}}}
	ask := func(name string) (status int, after string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://s/v1/hosts", http.NoBody)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+secret[name])
		resp, err := web.Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	for i := range burst {
		if status, _ := ask("ci"); status != http.StatusOK {
			t.Fatalf("request %d of %d: %d", i+1, burst, status)
		}
	}
	status, text := ask("ci")
	if after, err := strconv.Atoi(text); status != http.StatusTooManyRequests || err != nil || after < 1 || after > 100 {
		t.Errorf("one too many: %d, Retry-After %q", status, text)
	}
	if status, _ := ask("other"); status != http.StatusOK {
		t.Errorf("another: %d", status)
	}
	for range 2 * burst {
		_, err := client.List[api.Host](t.Context(), r.Client, client.Filter{})
		must(t, err)
	}
}
