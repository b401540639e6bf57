package hostsrv

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/mosdocker/mosdocker/hostsrv/api"
)

// Status is how the host does now.
func (s *Supervisor) Status() api.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := api.Status{Engine: s.engine, Sets: []api.Set{}, Faults: maps.Clone(s.faults)}
	out.Engine.Hung = slices.Clone(s.engine.Hung)
	for _, name := range slices.Sorted(maps.Keys(s.sets)) {
		out.Sets = append(out.Sets, s.sets[name].Set)
	}
	return out
}

// Events are those after one, of a set or with "" of all.
func (s *Supervisor) Events(after uint64, set string) []api.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []api.Event{}
	for _, e := range s.events {
		if e.Seq > after && (set == "" || e.Set == set) {
			out = append(out, e)
		}
	}
	return out
}

// Register adds what package api asks for to a server.
func (s *Supervisor) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Status()) })
	mux.HandleFunc("GET /metrics/sets", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_ = s.WriteMetrics(w) // who scrapes may be gone
	})
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		after, err := strconv.ParseUint(q.Get("after"), 10, 64)
		if q.Has("after") && err != nil {
			http.Error(w, "after is no number of an event", http.StatusBadRequest)
			return
		}
		reply(w, s.Events(after, q.Get("set")))
	})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who asked may be gone
}

// WriteMetrics writes what is counted, in the text format of Prometheus.
func (s *Supervisor) WriteMetrics(w io.Writer) error {
	st := s.Status()
	up := 0
	if st.Engine.State == api.Well || st.Engine.State == api.Slow {
		up = 1
	}
	_, err := fmt.Fprintf(w, "# TYPE mos_engine_up gauge\nmos_engine_up %d\n# TYPE mos_engine_answer_seconds gauge\nmos_engine_answer_seconds %g\n# TYPE mos_engine_restarts_total counter\nmos_engine_restarts_total %d\n", up, st.Engine.Took/1000, st.Engine.Restarts)
	for _, m := range []struct {
		name, kind string
		value      func(api.Set) int
	}{
		{"mos_set_right", "gauge", func(x api.Set) int {
			if x.State == api.Right {
				return 1
			}
			return 0
		}},
		{"mos_set_heals_total", "counter", func(x api.Set) int { return x.Heals }},
		{"mos_set_restarts_total", "counter", func(x api.Set) int { return x.Restarts }},
		{"mos_set_heal_failures", "gauge", func(x api.Set) int { return x.Failures }},
	} {
		if err == nil {
			_, err = fmt.Fprintf(w, "# TYPE %s %s\n", m.name, m.kind)
		}
		for _, x := range st.Sets {
			if err == nil {
				_, err = fmt.Fprintf(w, "%s{set=%q} %d\n", m.name, x.Name, m.value(x))
			}
		}
	}
	return err
}
