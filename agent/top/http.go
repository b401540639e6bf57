package top

import (
	"context"
	_ "embed"
	"encoding/json"
	"net/http"
	"time"
)

//go:embed page.html
var page []byte

// answerLimit is how long one who asks waits for a sample; servers and browsers wait
// longer.
const answerLimit = 9 * time.Second

// Register adds what package api asks for to a server, and a page that shows it.
func (k *Keeper) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/top", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerLimit)
		defer cancel()
		t, err := k.Top(ctx)
		if err != nil {
			http.Error(w, "the next sample is not there yet: ask again", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(t) // who asked may be gone
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'")
		_, _ = w.Write(page) // who asked may be gone
	})
}
