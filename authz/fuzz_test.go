package authz

import (
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/go-plugins-helpers/authorization"

	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
)

// FuzzAuthZReq: whatever is sent to the plugin, it answers, and lets nothing through
// that encoding/json, by which an Engine writes, reads as something else than what
// needs no look at objects.
func FuzzAuthZReq(f *testing.F) {
	f.Add(`{"RequestMethod":"GET","RequestUri":"/info","RequestHeaders":{"Content-Length":"0"}}`)
	f.Add(`{"User":"a","UserAuthNMethod":"TLS","RequestMethod":"POST","RequestUri":"/v1.41/containers/create","RequestBody":"e30=","RequestHeaders":{"Content-Type":"application/json","Content-Length":"2"}}`)
	f.Add(`{"RequestMethod":"GET","RequestUri":"/info","RequestPeerCertificates":["eHg="]}`)
	f.Add(`{"RequestUri":"/plugins","requestURI":"/info","RequestMethod":"GET"}`)
	dir := f.TempDir()
	cfg := Defaults()
	cfg.Policy, cfg.Audit.File, cfg.DockerHost = filepath.Join(dir, "policy.toml"), "", "unix://"+filepath.Join(dir, "none.sock")
	if err := os.WriteFile(cfg.Policy, []byte(policyOfMe()), 0o600); err != nil {
		f.Fatal(err)
	}
	log, err := logx.New(io.Discard, logx.Config{Level: "error", Format: "text"})
	if err != nil {
		f.Fatal(err)
	}
	d, err := Open(cfg, log)
	if err != nil {
		f.Fatal(err)
	}
	s := pluginsrv.New(pluginsrv.Config{Log: log.Logger})
	d.register(s)
	harmless := []string{"/_ping", "/version", "/info", "/auth", "/images/", "/containers/json", "/volumes", "/networks", "/events", "/containers/prune"}
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/AuthZPlugin.AuthZReq", strings.NewReader(body)))
		var answer authorization.Response
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Allow && w.Code != 200 {
			t.Fatalf("%s: %d %s, %v", body, w.Code, w.Body, err)
		}
		if !answer.Allow {
			return
		}
		var r authorization.Request
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatalf("%s goes through and cannot be read: %v", body, err)
		}
		for _, path := range harmless {
			if strings.Contains(r.RequestURI, path) && len(r.RequestPeerCertificates) == 0 && r.User == "" {
				return
			}
		}
		t.Fatalf("%s goes through", body)
	})
}
