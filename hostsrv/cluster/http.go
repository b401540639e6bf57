package cluster

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
)

// Status is how the host does in its cluster.
func (h *Host) Status() api.Cluster {
	endpoints, name := h.endpoints(), h.Name()
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.rec.Assignment
	out := api.Cluster{
		Host: name, Cluster: h.rec.Cluster, Endpoints: endpoints, Linked: h.linked, Since: h.since.UTC(),
		Epoch: a.Epoch, Revision: a.Revision, Sets: len(a.Sets),
	}
	if h.err != nil {
		out.Error = h.err.Error()
	}
	if id, err := h.identity(); err == nil {
		out.Expires = id.pair.Leaf.NotAfter
	}
	return out
}

// Register adds what asks to both servers, and what changes to the one that only root
// reaches.
func (h *Host) Register(mux, admin *http.ServeMux) {
	mux.HandleFunc("GET /v1/cluster", func(w http.ResponseWriter, _ *http.Request) { reply(w, h.Status()) })
	admin.HandleFunc("POST /v1/cluster/join", func(w http.ResponseWriter, r *http.Request) {
		change(w, r, h, func(in api.ClusterJoin) error { return h.Join(r.Context(), in) })
	})
	admin.HandleFunc("POST /v1/cluster/leave", func(w http.ResponseWriter, r *http.Request) {
		change(w, r, h, func(in api.ClusterLeave) error { return h.Leave(r.Context(), in.Force) })
	})
}

const mostBody = 1 << 20

func change[T any](w http.ResponseWriter, r *http.Request, h *Host, f func(T) error) {
	var in T
	d := json.NewDecoder(io.LimitReader(r.Body, mostBody))
	d.DisallowUnknownFields()
	err := d.Decode(&in)
	if err != nil {
		err = fault.Invalid("read the request: %w", err)
	} else {
		err = f(in)
	}
	if err != nil {
		pluginsrv.Refuse(w, err)
		return
	}
	reply(w, h.Status())
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who asked may be gone
}
