package client_test

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/session"
)

// document is the API's: parameters, as query:limit, by operation, as GET /v1/hosts/{name}.
func document(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			ID         string `json:"operationId"`
			Parameters []struct {
				In   string `json:"in"`
				Name string `json:"name"`
			} `json:"parameters"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for path, item := range doc.Paths {
		for method, o := range item {
			if o.ID == "" {
				continue
			}
			params := []string{}
			for _, p := range o.Parameters {
				if p.In != "path" {
					params = append(params, p.In+":"+p.Name)
				}
			}
			slices.Sort(params)
			all[strings.ToUpper(method)+" "+path] = params
		}
	}
	return all
}

// recorder answers every call alike, and keeps what was called, in the document's form.
type recorder struct {
	mu    sync.Mutex // guards all below
	calls map[string][]string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	path := strings.Replace(q.URL.Path, "/one", "/{name}", 1)
	key, params := q.Method+" "+path, []string{}
	for name := range q.URL.Query() {
		params = append(params, "query:"+name)
	}
	if q.Header.Get("Idempotency-Key") != "" {
		params = append(params, "header:Idempotency-Key")
	}
	params = append(params, r.calls[key]...)
	slices.Sort(params)
	r.calls[key] = slices.Compact(params)
	body := `{"items":[],"continue":"on"}` // the next page is asked for once
	if q.URL.Query().Get("continue") != "" || path == "/v1/status" {
		body = `{}`
	}
	_, _ = w.Write([]byte(body))
}

// each calls all of one kind that the document has.
func each[T any, R interface {
	*T
	api.Resource
}](ctx context.Context, c *client.Client, doc map[string][]string) {
	r := R(new(T))
	path := "/v1/" + string(r.Kind())
	r.Head().Name = "one"
	change := client.Change{Wait: time.Second, DryRun: true}
	for call, f := range map[string]func(){
		"GET " + path: func() {
			_, _ = client.List[T, R](ctx, c, client.Filter{Labels: []string{"a=b"}, Service: "s", Host: "h", On: "hosts/h", Limit: 1})
		},
		"GET " + path + "/{name}":    func() { _, _ = client.Get[T, R](ctx, c, "one") },
		"PUT " + path + "/{name}":    func() { _, _ = client.Replace(ctx, c, r, change) },
		"PATCH " + path + "/{name}":  func() { _, _ = client.Patch[T, R](ctx, c, "one", map[string]any{}, change) },
		"DELETE " + path + "/{name}": func() { _, _ = client.Delete[T, R](ctx, c, "one") },
		"POST " + path: func() {
			if r.Kind() != api.Tokens { // the server makes their secrets
				_, _ = client.Create(ctx, c, r, client.Change{Wait: time.Second, DryRun: true, Key: "k"})
			}
		},
	} {
		if _, there := doc[call]; there {
			f()
		}
	}
}

// TestTheClientIsTheDocuments: the client has each operation of the API's document with all of
// its parameters, and no other. That the answers have the document's form is by the types,
// which the document is made of.
func TestTheClientIsTheDocuments(t *testing.T) {
	doc := document(t)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{calls: map[string][]string{}}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: r}}
	srv.Start()
	defer srv.Close()
	c, err := client.New(socket, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	each[api.Event](ctx, c, doc)
	each[api.Host](ctx, c, doc)
	each[api.Leftover](ctx, c, doc)
	each[api.Network](ctx, c, doc)
	each[api.Operation](ctx, c, doc)
	each[api.Quota](ctx, c, doc)
	each[api.Revocation](ctx, c, doc)
	each[api.Service](ctx, c, doc)
	each[api.SetInstance](ctx, c, doc)
	each[api.Token](ctx, c, doc)
	_, _ = c.CreateToken(ctx, api.TokenRequest{Name: "one"})
	_ = c.DeleteToken(ctx, "one")
	_, _ = c.Explain(ctx, "one", "h")
	_, _ = c.Plan(ctx, &api.Service{})
	_, _ = c.Status(ctx)
	_, _ = c.Usage(ctx, api.MeasuredQuery{Of: api.OnlySets, Service: "s", Host: "h", Limit: 1})
	_, _ = c.Session(ctx, "one", session.Request{})
	for range client.Watch[api.Host](ctx, c, 1) {
		break
	}
	// A change goes by the revision in its body, and a watch that ended begins by its revision.
	for call, params := range doc {
		doc[call] = slices.DeleteFunc(params, func(p string) bool { return p == "header:If-Match" || p == "header:Last-Event-ID" })
	}
	if len(doc) < 40 {
		t.Errorf("the document has %d operations", len(doc))
	}
	for call := range maps.Keys(r.calls) {
		if _, known := doc[call]; !known {
			t.Errorf("the document has no %s", call)
		}
	}
	for call, want := range doc {
		if got, called := r.calls[call]; !called || !slices.Equal(got, want) {
			t.Errorf("%s: called %v with %q, the document has %q", call, called, got, want)
		}
	}
}
