package link_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// BenchmarkAssignment writes that of a host with ten sets of ten services.
func BenchmarkAssignment(b *testing.B) {
	a := link.Assignment{Host: "h1", Epoch: 7, Revision: 1000}
	for i := range 10 {
		a.Sets = append(a.Sets, link.Assigned{Name: fmt.Sprintf("web%d-1", i), UID: "0190d1c2-0000-7000-8000-000000000000", Generation: 1, Set: api.Template{Set: spec.Set{
			CPU: 4, MEM: 8 << 30, Network: spec.Network{Name: "prod"}, Volume: &spec.Volume{Size: 20 << 30, Path: "/data"},
			Containers: []spec.Container{{Name: "app", Image: "registry.example/shop/app:41", Options: spec.Options{CPU: 80, MEM: 70}}},
		}}})
	}
	for b.Loop() {
		if _, err := link.Encode(&a); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReport is the report of a host with ten sets, as it comes: plain, and with what they
// use.
func BenchmarkReport(b *testing.B) {
	r := link.Report{Host: "h1", Boot: "b", Seq: 1, Sent: time.Now(), Epoch: 7, Revision: 9, Status: api.HostStatus{
		Machine: "m", Capacity: api.Amounts{CPU: 64000, Memory: 256 << 30, Disk: 1 << 40}, Networks: map[string]string{"prod": "10.9.0.0/16"}, Engine: "29.7.2",
	}}
	u := &link.Usage{At: time.Now(), Host: api.Use{CPU: 12345, Memory: 100 << 30, Received: 1e7, Sent: 2e7, Read: 3e6, Written: 4e6}}
	for i := range 10 {
		name := fmt.Sprintf("web%d-1", i)
		r.Sets = append(r.Sets, link.SetReport{Name: name, UID: "0190d1c2-0000-7000-8000-000000000000", Generation: 1, Phase: api.Ready, Since: time.Now()})
		u.Sets = append(u.Sets, link.SetUsage{Name: name, Use: api.Use{CPU: 1234, Memory: 1 << 30, Received: 1e6, Sent: 2e6, Read: 3e5, Written: 4e5}})
	}
	one := newLeader(true)
	one.hosts["h1"] = &api.Host{Meta: api.Meta{Name: "h1"}, Status: r.Status}
	s := link.NewServer(link.Config{
		Cluster: "c1", Controller: forgetful{one}, Who: func(*http.Request) (link.Peer, error) { return link.Peer{Any: true}, nil }, Log: slog.New(slog.DiscardHandler),
	})
	for _, name := range []string{"plain", "usage"} {
		if name == "usage" {
			r.Usage = u
		}
		data, err := json.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, link.Root+"reports", bytes.NewReader(data)))
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// forgetful keeps no reports.
type forgetful struct{ *leader }

func (f forgetful) Report(context.Context, link.Report) (link.Lease, error) {
	return link.Lease{Epoch: 1}, nil
}
