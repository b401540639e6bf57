package sink_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/agent/sink/sinktest"
)

// TestAnAuthorityOfOnesOwn: it is trusted when it is named, and its server sees who comes.
func TestAnAuthorityOfOnesOwn(t *testing.T) {
	server, files := sinktest.TLS(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }))
	s.TLS = server
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	post := func(c sink.TLSConfig) error {
		h, err := sink.NewHTTP(sink.HTTPConfig{Config: sink.Config{URL: s.URL}, TLSConfig: c}, nil)
		if err == nil {
			_, err = h.Post(t.Context(), []byte("x"))
		}
		return err
	}
	if err := post(files); err != nil {
		t.Error(err)
	}
	if err := post(sink.TLSConfig{}); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("without the authority: %v", err)
	}
	if err := post(sink.TLSConfig{CA: files.CA}); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]sink.TLSConfig{"has no certificate": {CA: empty}, "ca: open": {CA: "/none"}, "cert and key: open": {Cert: files.Cert}} {
		if err := post(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
