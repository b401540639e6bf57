package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/server"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
)

// rig is an API on a real store, reached over a unix socket.
type rig struct {
	*client.Client
	store  *state.Store
	server *server.Server
	socket string
}

func newRig(tb testing.TB, c server.Config) *rig {
	tb.Helper()
	etcd, err := embed.Start(tb.Context(), embed.Config{Dir: tb.TempDir(), Log: testx.Logger(tb)})
	must(tb, err)
	tb.Cleanup(func() {
		if err := etcd.Close(); err != nil {
			tb.Error(err)
		}
	})
	r := &rig{}
	r.store, err = state.Open(tb.Context(), etcd.Client(), state.Options{})
	must(tb, err)
	tb.Cleanup(r.store.Close)
	r.serve(tb, c)
	return r
}

// another is a second process on the store of the first.
func (r *rig) another(tb testing.TB, c server.Config) *rig {
	tb.Helper()
	two := &rig{store: r.store}
	two.serve(tb, c)
	return two
}

func (r *rig) serve(tb testing.TB, c server.Config) {
	tb.Helper()
	c.Store = r.store
	if c.Log == nil {
		c.Log = testx.Logger(tb)
	}
	until, end := context.WithCancel(tb.Context())
	var err error
	r.server, err = server.New(until, c)
	must(tb, err)
	r.socket = filepath.Join(tb.TempDir(), "s")
	l, err := net.Listen("unix", r.socket)
	must(tb, err)
	h := httptest.NewUnstartedServer(r.server)
	h.Listener = l
	h.Config.ConnContext = server.PeerContext
	h.Start()
	tb.Cleanup(h.Close)
	tb.Cleanup(end)
	r.Client = r.as(tb, "")
}

// as is a client with a token.
func (r *rig) as(tb testing.TB, token string) *client.Client {
	tb.Helper()
	c, err := client.New(r.socket, client.Options{Token: token})
	must(tb, err)
	tb.Cleanup(c.Close)
	return c
}

// raw sends a request as a user with curl does.
func (r *rig) raw(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
	must(t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := transport.RoundTrip(req)
	must(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	return reply{resp.StatusCode, resp.Header, string(data)}
}

type reply struct {
	status int
	header http.Header
	text   string
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// web is a service whose sets could run.
func web(name string, replicas int) *api.Service {
	s := &api.Service{}
	body := fmt.Sprintf(`{"name":%q,"labels":{"team":"shop"},"spec":{"replicas":%d,"set":{"CPU":1,"MEM":"64m",
		"Containers":[{"Index":0,"Name":"app","Image":"shop/app:1"}]}}}`, name, replicas)
	if err := api.Decode([]byte(body), s); err != nil {
		panic(err)
	}
	return s
}

func TestAServiceIsMadeChangedAndRemoved(t *testing.T) {
	r := newRig(t, server.Config{})
	ctx := t.Context()
	made, err := client.Create(ctx, r.Client, web("web", 3), client.Change{})
	must(t, err)
	if made.UID == "" || made.Generation != 1 || made.Revision == 0 {
		t.Errorf("as made: %+v", made.Meta)
	}
	got, err := client.Get[api.Service](ctx, r.Client, "web")
	must(t, err)
	if d := cmp.Diff(made, got); d != "" {
		t.Errorf("read back: %s", d)
	}
	if _, err := client.Create(ctx, r.Client, web("web", 3), client.Change{}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("again: %v", err)
	}
	got.Spec.Replicas = 4
	replaced, err := client.Replace(ctx, r.Client, got, client.Change{})
	must(t, err)
	if replaced.Generation != 2 || replaced.Spec.Replicas != 4 || replaced.UID != made.UID {
		t.Errorf("replaced: %+v", replaced)
	}
	if _, err := client.Replace(ctx, r.Client, got, client.Change{}); !errors.Is(err, errdefs.ErrAborted) || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Errorf("from an old state: %v", err)
	}
	patched, err := client.Patch[api.Service](ctx, r.Client, "web", map[string]any{"spec": map[string]any{"replicas": 6}, "labels": map[string]any{"team": nil, "tier": "1"}}, client.Change{})
	must(t, err)
	if patched.Generation != 3 || patched.Spec.Replicas != 6 || patched.Spec.Set.CPU != 1 || patched.Labels["tier"] != "1" || len(patched.Labels) != 1 {
		t.Errorf("patched: %+v", patched)
	}
	gone, err := client.Delete[api.Service](ctx, r.Client, "web")
	must(t, err)
	if gone.Deleted.IsZero() {
		t.Error("it is not marked as one that is to go")
	}
	if _, err := client.Patch[api.Service](ctx, r.Client, "web", map[string]any{"spec": map[string]any{"replicas": 1}}, client.Change{}); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("changed while it goes: %v", err)
	}
	again, err := client.Delete[api.Service](ctx, r.Client, "web")
	must(t, err)
	if !again.Deleted.Equal(gone.Deleted) {
		t.Error("a second delete is another one")
	}
}

func TestListsArePagesOfOneRevision(t *testing.T) {
	r := newRig(t, server.Config{})
	ctx := t.Context()
	for i := range 7 {
		s := web(fmt.Sprintf("s%d", i), 1)
		s.Labels["odd"] = strconv.Itoa(i % 2)
		_, err := client.Create(ctx, r.Client, s, client.Change{})
		must(t, err)
	}
	text := r.raw(t, "GET", "/v1/services?limit=3", "").text
	var page api.Page[api.Service]
	must(t, json.Unmarshal([]byte(text), &page))
	if len(page.Items) != 3 || page.Continue == "" {
		t.Fatalf("first page: %d, %q", len(page.Items), page.Continue)
	}
	_, err := client.Create(ctx, r.Client, web("s55", 1), client.Change{}) // after the list began
	must(t, err)
	text = r.raw(t, "GET", "/v1/services?limit=30&continue="+page.Continue, "").text
	var rest api.Page[api.Service]
	must(t, json.Unmarshal([]byte(text), &rest))
	if len(rest.Items) != 4 || rest.Revision != page.Revision || rest.Continue != "" {
		t.Errorf("the rest: %d items of revision %d, not %d", len(rest.Items), rest.Revision, page.Revision)
	}
	odd, err := client.List[api.Service](ctx, r.Client, client.Filter{Labels: []string{"odd=1", "team"}, Limit: 2})
	must(t, err)
	if len(odd.Items) != 3 {
		t.Errorf("%d have the label", len(odd.Items))
	}
}

func TestAKeySentAgainMakesNothing(t *testing.T) {
	r := newRig(t, server.Config{})
	body, err := api.Encode(web("web", 1))
	must(t, err)
	first := r.raw(t, "POST", "/v1/services", string(body), "Idempotency-Key", "k1")
	second := r.raw(t, "POST", "/v1/services", string(body), "Idempotency-Key", "k1")
	if first.status != 201 || second.status != 201 || first.text != second.text || second.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%+v\n%+v", first, second)
	}
	other := strings.Replace(string(body), `"replicas":1`, `"replicas":2`, 1)
	for name, c := range map[string]struct {
		key, body string
		want      int
	}{"another-body": {"k1", other, 422}, "another-key": {"k2", string(body), 409}, "no-key": {"", string(body), 409}} {
		if got := r.raw(t, "POST", "/v1/services", c.body, "Idempotency-Key", c.key); got.status != c.want {
			t.Errorf("%s: %d %s", name, got.status, got.text)
		}
	}
}

func TestAWatchGoesOnWhereItEnded(t *testing.T) {
	r := newRig(t, server.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	start, err := client.List[api.Service](ctx, r.Client, client.Filter{})
	must(t, err)
	_, err = client.Create(ctx, r.Client, web("web", 1), client.Change{})
	must(t, err)
	var after int64
	for told, err := range client.Watch[api.Service](ctx, r.Client, start.Revision) {
		must(t, err)
		if told.What == api.Bookmark {
			continue
		}
		if told.What != api.Added || told.Object.Name != "web" || told.Kind != api.Services {
			t.Errorf("told %+v", told)
		}
		after = told.Revision
		break
	}
	_, err = client.Patch[api.Service](ctx, r.Client, "web", map[string]any{"spec": map[string]any{"replicas": 2}}, client.Change{}) // while nobody watches
	must(t, err)
	service, err := state.Get[api.Service](ctx, r.store, "web")
	must(t, err)
	must(t, r.store.Delete(ctx, service))
	var seen []string
	for told, err := range client.Watch[api.Service](ctx, r.Client, after) {
		must(t, err)
		if told.What != api.Bookmark {
			seen = append(seen, told.What+" "+told.Name)
		}
		if told.What == api.Removed {
			break
		}
	}
	if d := cmp.Diff([]string{"modified web", "deleted web"}, seen); d != "" {
		t.Error(d)
	}
	must(t, r.store.Reclaim(ctx))
	for _, err := range client.Watch[api.Service](ctx, r.Client, start.Revision) {
		if !errdefs.IsOutOfRange(err) {
			t.Errorf("from before what was forgotten: %v", err)
		}
		break
	}
}

// TestARevisionHasOneID shows that a client which goes on from the last id misses no
// change of a batch.
func TestARevisionHasOneID(t *testing.T) {
	r := newRig(t, server.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	start, err := client.List[api.Service](ctx, r.Client, client.Filter{})
	must(t, err)
	b := r.store.Batch(nil)
	b.Create(web("a", 1))
	b.Create(web("b", 1))
	revision, err := b.Commit(ctx)
	must(t, err)
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
	}}
	req, err := http.NewRequestWithContext(ctx, "GET", "http://x/v1/watch?kind=services", nil)
	must(t, err)
	req.Header.Set("Last-Event-ID", strconv.FormatInt(start.Revision, 10))
	resp, err := transport.RoundTrip(req)
	must(t, err)
	defer resp.Body.Close()
	var text strings.Builder
	buf := make([]byte, 4096)
	for strings.Count(text.String(), "event: added") < 2 || !strings.HasSuffix(text.String(), "\n\n") {
		n, err := resp.Body.Read(buf)
		must(t, err)
		text.Write(buf[:n])
	}
	got := text.String()
	if strings.Count(got, "id: ") != 1 || strings.Index(got, fmt.Sprintf("id: %d\n", revision)) < strings.Index(got, `"name":"a"`) {
		t.Errorf("the stream:\n%s", got)
	}
}

func TestBadRequestsSayWhatIsWrong(t *testing.T) {
	r := newRig(t, server.Config{})
	ctx := t.Context()
	_, err := client.Create(ctx, r.Client, web("web", 1), client.Change{})
	must(t, err)
	body, err := api.Encode(web("other", 1))
	must(t, err)
	good := string(body)
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		code, want         string
	}{
		"no-such-path":   {"GET", "/v2/services", "", nil, 404, "not_found", "there is no GET /v2/services"},
		"absent":         {"GET", "/v1/services/nope", "", nil, 404, "not_found", `service "nope" is not there`},
		"no-json":        {"POST", "/v1/services", "{", nil, 422, "invalid_argument", "unexpected EOF"},
		"empty":          {"POST", "/v1/services", "", nil, 400, "invalid_argument", "body is required"},
		"unknown-field":  {"POST", "/v1/services", strings.Replace(good, `"spec"`, `"sbec"`, 1), nil, 422, "invalid_argument", "/sbec"},
		"all-flaws":      {"POST", "/v1/services", `{"name":"X","spec":{"replicas":-1,"set":{}}}`, nil, 422, "invalid_argument", `"location":"spec.replicas"`},
		"of-a-host":      {"POST", "/v1/hosts", good, nil, 422, "invalid_argument", "/spec/replicas"},
		"has-a-revision": {"POST", "/v1/services", strings.Replace(good, `"name"`, `"revision":3,"name"`, 1), nil, 422, "invalid_argument", "stored already"},
		"unknown-query":  {"GET", "/v1/services?x=1", "", nil, 422, "invalid_argument", "query.x"},
		"bad-limit":      {"GET", "/v1/services?limit=many", "", nil, 422, "invalid_argument", "query.limit"},
		"large-limit":    {"GET", "/v1/services?limit=5001", "", nil, 422, "invalid_argument", "query.limit"},
		"bad-page":       {"GET", "/v1/services?continue=x", "", nil, 422, "invalid_argument", "list from the start"},
		"not-of-these":   {"GET", "/v1/services?host=h", "", nil, 422, "invalid_argument", "filters of sets"},
		"bad-wait":       {"POST", "/v1/services?wait=soon", good, nil, 422, "invalid_argument", "wait:"},
		"endless-wait":   {"POST", "/v1/services?wait=48h", good, nil, 422, "invalid_argument", "wait:"},
		"other-name":     {"PUT", "/v1/services/web", good, nil, 422, "invalid_argument", "names are not changed"},
		"no-state":       {"PUT", "/v1/services/other", good, nil, 428, "invalid_argument", "If-Match"},
		"bad-etag":       {"PUT", "/v1/services/other", good, []string{"If-Match", "3"}, 422, "invalid_argument", "no ETag"},
		"stale":          {"DELETE", "/v1/services/web", "", []string{"If-Match", `"1"`}, 412, "stale", "changed meanwhile"},
		"patch-status":   {"PATCH", "/v1/services/web", `{"status":{"ready":3}}`, nil, 422, "invalid_argument", "only spec and labels"},
		"patch-nothing":  {"PATCH", "/v1/services/web", `{}`, nil, 422, "invalid_argument", "changes nothing"},
		"patch-unknown":  {"PATCH", "/v1/services/web", `{"spec":{"replica":3}}`, nil, 422, "invalid_argument", "/spec/replica"},
		"patch-wrong":    {"PATCH", "/v1/services/web", `{"spec":{"replicas":-3}}`, nil, 422, "invalid_argument", "spec.replicas"},
		"sets-are-made":  {"POST", "/v1/sets", "{}", nil, 404, "not_found", "there is no POST /v1/sets"},
		"watch-nowhere":  {"GET", "/v1/watch", "", nil, 422, "invalid_argument", "list first"},
		"watch-unknown":  {"GET", "/v1/watch?from=1&kind=pods", "", nil, 422, "invalid_argument", `"pods"`},
		"not-here":       {"GET", "/v1/services/web/explain", "", nil, 501, "not_implemented", "no controllers"},
		"too-large":      {"POST", "/v1/services", `{"name":"` + strings.Repeat("x", 1800<<10) + `"}`, nil, 413, "invalid_argument", "too large"},
		"other-origin":   {"POST", "/v1/services", good, []string{"Sec-Fetch-Site", "cross-site"}, 403, "", ""},
		"not-a-token":    {"GET", "/v1/services", "", []string{"Authorization", "Basic eDp5"}, 401, "unauthenticated", "Bearer"},
		"no-such-token":  {"GET", "/v1/services", "", []string{"Authorization", "Bearer mos.a.b"}, 401, "unauthenticated", "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			got := r.raw(t, c.method, c.path, c.body, c.header...)
			if got.status != c.status || !strings.Contains(strings.ReplaceAll(got.text, `\"`, `"`), c.want) {
				t.Fatalf("%d %s", got.status, got.text)
			}
			if c.code == "" {
				return
			}
			var p api.Problem
			if err := json.Unmarshal([]byte(got.text), &p); err != nil || p.Code != c.code || p.Status != c.status || p.Detail == "" ||
				got.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s is no problem of code %s: %v", got.text, c.code, err)
			}
		})
	}
	all, err := client.List[api.Service](ctx, r.Client, client.Filter{})
	must(t, err)
	if len(all.Items) != 1 || all.Items[0].Generation != 1 {
		t.Errorf("bad requests left %d services", len(all.Items))
	}
}

func TestOpenAPIIsCommitted(t *testing.T) {
	r := newRig(t, server.Config{})
	const path = "../api/openapi.json"
	if os.Getenv("MOS_UPDATE") != "" {
		must(t, os.WriteFile(path, r.server.OpenAPI(), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if d := cmp.Diff(string(want), string(r.server.OpenAPI())); d != "" {
		t.Errorf("%s differs; MOS_UPDATE=1 writes it:\n%s", path, d)
	}
}

func TestRolesAreKept(t *testing.T) {
	log := &lines{}
	r := newRig(t, server.Config{Log: log.logger()})
	ctx := t.Context()
	roles := map[string]*client.Client{}
	for name, ask := range map[string]api.TokenRequest{
		"operator": {Role: api.Operator}, "reader": {Role: api.ReadOnly}, "host": {Role: api.OfHost},
		"shop": {Role: api.Tenant, Tenant: "shop"}, "bank": {Role: api.Tenant, Tenant: "bank", TTL: "1h"},
	} {
		ask.Name = name
		made, err := r.CreateToken(ctx, ask)
		must(t, err)
		roles[name] = r.as(t, made.Secret)
	}
	_, err := client.Create(ctx, roles["shop"], web("shop-web", 1), client.Change{})
	must(t, err)
	_, err = client.Create(ctx, roles["operator"], web("free", 1), client.Change{})
	must(t, err)
	must(t, r.store.Create(ctx, &api.Host{Meta: api.Meta{Name: "h1"}}))
	scale := map[string]any{"spec": map[string]any{"replicas": 2}}
	drain := map[string]any{"spec": map[string]any{"availability": "draining"}}
	for _, c := range []struct {
		who, what string
		may       bool
		do        func(*client.Client) error
	}{
		{"operator", "drain", true, func(c *client.Client) error {
			_, err := client.Patch[api.Host](ctx, c, "h1", drain, client.Change{})
			return err
		}},
		{"operator", "make a token", false, func(c *client.Client) error {
			_, err := c.CreateToken(ctx, api.TokenRequest{Name: "mine", Role: api.Admin})
			return err
		}},
		{"operator", "look at tokens", false, func(c *client.Client) error {
			_, err := client.List[api.Token](ctx, c, client.Filter{})
			return err
		}},
		{"reader", "look", true, func(c *client.Client) error {
			_, err := client.Get[api.Service](ctx, c, "free")
			return err
		}},
		{"reader", "scale", false, func(c *client.Client) error {
			_, err := client.Patch[api.Service](ctx, c, "free", scale, client.Change{})
			return err
		}},
		{"host", "look", false, func(c *client.Client) error {
			_, err := client.Get[api.Service](ctx, c, "free")
			return err
		}},
		{"shop", "scale its own", true, func(c *client.Client) error {
			_, err := client.Patch[api.Service](ctx, c, "shop-web", scale, client.Change{})
			return err
		}},
		{"bank", "scale another's", false, func(c *client.Client) error {
			_, err := client.Patch[api.Service](ctx, c, "shop-web", scale, client.Change{})
			return err
		}},
		{"bank", "look at another's", false, func(c *client.Client) error {
			_, err := client.Get[api.Service](ctx, c, "shop-web")
			return err
		}},
		{"bank", "remove another's", false, func(c *client.Client) error {
			_, err := client.Delete[api.Service](ctx, c, "shop-web")
			return err
		}},
		{"bank", "take another's name", false, func(c *client.Client) error {
			_, err := client.Create(ctx, c, web("shop-x", 1), client.Change{})
			return err
		}},
		{"bank", "take a name of none", false, func(c *client.Client) error {
			_, err := client.Create(ctx, c, web("bank", 1), client.Change{})
			return err
		}},
		{"bank", "plan another's", false, func(c *client.Client) error {
			_, err := c.Plan(ctx, web("shop-x", 1))
			return err
		}},
		{"shop", "look at hosts", false, func(c *client.Client) error {
			_, err := client.List[api.Host](ctx, c, client.Filter{})
			return err
		}},
		{"shop", "drain", false, func(c *client.Client) error {
			_, err := client.Patch[api.Host](ctx, c, "h1", drain, client.Change{})
			return err
		}},
	} {
		err := c.do(roles[c.who])
		switch {
		case c.may && err != nil:
			t.Errorf("%s may not %s: %v", c.who, c.what, err)
		case !c.may && !errdefs.IsPermissionDenied(err):
			t.Errorf("%s tried to %s: %v", c.who, c.what, err)
		case strings.HasPrefix(c.what, "look at ") && !strings.Contains(err.Error(), "may not look at "):
			t.Errorf("%s tried to %s: %v: it is not said so", c.who, c.what, err)
		}
	}
	page, err := client.List[api.Service](ctx, roles["shop"], client.Filter{})
	must(t, err)
	if len(page.Items) != 1 || page.Items[0].Name != "shop-web" {
		t.Errorf("shop sees %d services", len(page.Items))
	}
	for told, err := range client.Watch[api.Service](ctx, roles["shop"], 1) {
		must(t, err)
		if told.What != api.Bookmark {
			if told.Name != "shop-web" {
				t.Errorf("shop is told of %s", told.Name)
			}
			break
		}
	}
	tokens, err := client.List[api.Token](ctx, r.Client, client.Filter{})
	must(t, err)
	for _, token := range tokens.Items {
		if token.Spec.Hash != "" {
			t.Errorf("the hash of %s is shown", token.Name)
		}
	}
	must(t, r.DeleteToken(ctx, "operator"))
	testx.Eventually(t, 10*time.Second, func() error {
		_, err := client.Get[api.Service](ctx, roles["operator"], "free")
		if !errdefs.IsUnauthorized(err) {
			return fmt.Errorf("a token that is gone: %w", err)
		}
		return nil
	})
	for _, want := range []string{
		"by=shop role=tenant .*method=createService .*name=shop-web status=201",
		"by=reader role=read-only .*method=patchService .*name=free status=403",
		"by=bank role=tenant .*method=createService .*name=shop-x status=403",
	} {
		if !log.has(want) {
			t.Errorf("the audit has no line %q", want)
		}
	}
}

// lines is a log that can be searched.
type lines struct {
	mu   sync.Mutex // guards all below
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) has(pattern string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return regexp.MustCompile("msg=audit .*" + pattern).MatchString(l.text.String())
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}
