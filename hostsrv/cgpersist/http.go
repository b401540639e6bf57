package cgpersist

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
)

// maxBody bounds a request.
const maxBody = 64 << 10

// Register adds the calls of package api about settings to a server, which must be for
// administrators only.
func (k *Keeper) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/cgroup", func(w http.ResponseWriter, r *http.Request) {
		rows, err := k.List(r.Context(), r.URL.Query().Get("target"))
		answer(w, rows, err)
	})
	mux.HandleFunc("POST /v1/cgroup/set", func(w http.ResponseWriter, r *http.Request) {
		var req api.CgroupSet
		err := decode(w, r, &req)
		var rows []api.CgroupSetting
		if err == nil {
			// A caller that hangs up does not leave half.
			rows, err = k.Set(context.WithoutCancel(r.Context()), req.Target, req.Settings)
		}
		answer(w, rows, err)
	})
	mux.HandleFunc("POST /v1/cgroup/unset", func(w http.ResponseWriter, r *http.Request) {
		var req api.CgroupUnset
		err := decode(w, r, &req)
		var rows []api.CgroupSetting
		if err == nil {
			rows, err = k.Unset(context.WithoutCancel(r.Context()), req.Target, req.Settings)
		}
		answer(w, rows, err)
	})
}

func decode(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fault.Invalid("the request is not understood: %w", err)
	}
	return nil
}

func answer(w http.ResponseWriter, rows []api.CgroupSetting, err error) {
	if err != nil {
		pluginsrv.Refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(rows) // who asked may be gone
}

// WriteMetrics writes what is counted, in the text format of Prometheus.
func (k *Keeper) WriteMetrics(w io.Writer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	states := map[string]int{}
	for _, r := range k.rows {
		states[r.State]++
	}
	_, err := fmt.Fprint(w, "# TYPE mos_cgroup_settings gauge\n")
	for _, s := range []string{api.CgroupHeld, api.CgroupWaiting, api.CgroupFaulty} {
		if err == nil {
			_, err = fmt.Fprintf(w, "mos_cgroup_settings{state=%q} %d\n", s, states[s])
		}
	}
	if err == nil {
		_, err = fmt.Fprint(w, "# TYPE mos_cgroup_repairs_total counter\n")
	}
	for key, r := range k.repairs {
		if err == nil {
			_, err = fmt.Fprintf(w, "mos_cgroup_repairs_total{target=%q,setting=%q} %d\n", string(key.target), key.setting, r.n)
		}
	}
	return err
}
