package main

import (
	"net/http"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
)

// mosdAnswer is mosd on a host whose Engine hangs, with two sets, and a file that is faulty.
func mosdAnswer(r *http.Request, _ []byte) (any, int) {
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/status":
		return api.Status{
			Engine: api.Engine{State: api.Hung, Since: time.Now().Add(-time.Minute), Error: "the Engine hangs: it gave no answer within 6s", Recovery: "it is not restarted: live-restore is off"},
			Sets: []api.Set{
				{Name: "shop", State: api.Failing, Since: past(3), Heals: 4, Restarts: 9, Failures: 4, Detail: "no image\nto pull"},
				{Name: "web", State: api.Right, Since: past(26), Declared: "/etc/mos/sets.d/web.json"},
			},
			Faults: map[string]string{"/etc/mos/sets.d/bad.json": "no such key"},
		}, http.StatusOK
	case "GET /v1/events":
		if r.URL.Query().Get("set") == "nobody" {
			return []api.Event{}, http.StatusOK
		}
		return []api.Event{{Seq: 7, At: time.Unix(1_700_000_000, 0), Kind: "heal", Set: "web", Member: "app", Text: "it is\nexited"}}, http.StatusOK
	case "PUT /v1/loglevel":
		return map[string]string{"level": "debug"}, http.StatusOK
	}
	return refuse(http.StatusNotFound, "not_found", "there is no "+r.URL.Path)
}
