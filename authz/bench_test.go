package authz

import (
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkPluginCall is the answer to one question of an Engine, beside that of a
// server which agrees to everything unread.
func BenchmarkPluginCall(b *testing.B) {
	h := open(b, policyOfMe())
	trivial := filepath.Join(b.TempDir(), "t.sock")
	l, err := net.Listen("unix", trivial)
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"Allow":true}`)
	})}
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(func() { _ = srv.Close() })
	body := `{"RequestMethod":"GET","RequestUri":"/_ping","RequestHeaders":{"User-Agent":"x","Accept":"y"}}`
	for name, socket := range map[string]string{"ours": h.cfg.Socket, "trivial": trivial} {
		b.Run(name, func(b *testing.B) {
			tr := &http.Transport{DialContext: dialer(socket)}
			defer tr.CloseIdleConnections()
			c := &http.Client{Transport: tr}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := c.Post("http://plugin/AuthZPlugin.AuthZReq", "application/json", strings.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}

// BenchmarkSocketCall is a ping through the guarded socket, beside one through a proxy that
// looks at nothing.
func BenchmarkSocketCall(b *testing.B) {
	h := open(b, strings.Replace(policyOfMe(), "'tenant'", "'many'", 1)+"[profile.many]\nbased = 'tenant'\nlimits = {requests = 0}\n")
	bare := filepath.Join(b.TempDir(), "b.sock")
	l, err := net.Listen("unix", bare)
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: &httputil.ReverseProxy{
		Transport: &http.Transport{DialContext: dialer(strings.TrimPrefix(h.cfg.DockerHost, "unix://"))},
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "docker" },
	}}
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(func() { _ = srv.Close() })
	for name, socket := range map[string]string{"ours": h.cfg.Listen, "bare": bare} {
		b.Run(name, func(b *testing.B) {
			tr := &http.Transport{DialContext: dialer(socket)}
			defer tr.CloseIdleConnections()
			c := &http.Client{Transport: tr}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := c.Get("http://docker/_ping")
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Fatal(resp, err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
