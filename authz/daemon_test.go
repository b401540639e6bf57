package authz

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/authorization"
	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/authz/api"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/testx"
)

// engineStub answers what the lookups and the proxy ask of an Engine, and notes
// the requests that reached it.
type engineStub struct {
	mu   sync.Mutex // guards all below
	seen []*http.Request
	body []string
	hang chan struct{} // lookups wait for it, when set
	made string        // labels of a container that is made, as JSON; "" makes none
}

func (e *engineStub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	e.seen, e.body = append(e.seen, r), append(e.body, string(body))
	hang, made := e.hang, e.made
	e.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}
	owner := "a"
	if strings.Contains(r.URL.Path, "theirs") {
		owner = "b"
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/attach") && r.URL.Query().Has("stream") && hang == nil && strings.HasPrefix(r.URL.Path, "/v1.45/"):
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		_, _ = io.Copy(io.Discard, c) // until the client goes
	case made != "" && strings.HasSuffix(r.URL.Path, "/containers/create"):
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"Id":"made","Warnings":[]}`)
	case r.URL.Path == "/containers/made/json":
		fmt.Fprintf(w, `{"Id":"made","Config":{"Labels":%s}}`, made)
	case r.URL.Path == "/containers/made":
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(r.URL.Path, "/json") && strings.Contains(r.URL.Path, "/containers/"):
		fmt.Fprintf(w, `{"Id":"%064d","Name":"/x","Image":"sha256:abc","Config":{"Labels":{"mos.owner":%q}}}`, 1, owner)
	case r.URL.Path == "/images/sha256:abc/json":
		_, _ = io.WriteString(w, `{"Id":"sha256:abc","RepoTags":["shared:1"]}`)
	case strings.HasSuffix(r.URL.Path, "/volumes/create"):
		w.WriteHeader(http.StatusCreated)
		if strings.Contains(string(body), "raced") {
			owner = "b"
		}
		fmt.Fprintf(w, `{"Name":"v","Labels":{"mos.owner":%q,"l":"s3cret"}}`, owner)
	case strings.HasSuffix(r.URL.Path, "/logs"):
		_, _ = io.WriteString(w, "line")
		_ = http.NewResponseController(w).Flush()
	case strings.HasSuffix(r.URL.Path, "/images/json"):
		_, _ = io.WriteString(w, `[{"Id":"0","ParentId":"9","Labels":{"x":"y"},"RepoTags":["<none>:<none>"],"RepoDigests":["<none>@<none>"]},{"Id":"00","RepoTags":null},{"Id":"1","Labels":null,"RepoTags":["x:1"]},{"Id":"2","Labels":{"mos.builder":"b"}},{"Id":"3","Labels":{"mos.builder":"a"},"Extra":1e2}]`)
	case r.URL.Path == "/images/step/json":
		_, _ = io.WriteString(w, `{"Id":"sha256:4","RepoTags":[],"RepoDigests":[],"Config":{"Labels":{"x":"y"}}}`)
	case r.URL.Path == "/images/pinned/json":
		_, _ = io.WriteString(w, `{"Id":"sha256:5","RepoDigests":["x@sha256:`+strings.Repeat("5", 64)+`"]}`)
	case r.URL.Path == "/networks/gone":
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"network gone not found"}`)
	case strings.HasPrefix(r.URL.Path, "/images/"), strings.HasPrefix(r.URL.Path, "/volumes/missing"), r.URL.Path == "/volumes/raced":
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"no such thing"}`)
	case r.URL.Path == "/version":
		_, _ = io.WriteString(w, `{"Version":"29.2.0"}`)
	default:
		_, _ = io.WriteString(w, `{}`)
	}
}

// last is the last request that is no lookup.
func (e *engineStub) last(t *testing.T) (*http.Request, string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen) == 0 {
		t.Fatal("nothing reached the Engine")
	}
	return e.seen[len(e.seen)-1], e.body[len(e.body)-1]
}

type house struct {
	*Daemon
	cfg  Config
	stub *engineStub
}

// policyOfMe makes the user of this test tenant a, and of the Engine's own socket
// too.
func policyOfMe() string {
	return fmt.Sprintf("version = 1\n[[who]]\nname = 'a'\nlocal = true\nuid = [%d]\nprofile = 'tenant'\n", os.Getuid())
}

func open(tb testing.TB, policy string, change ...func(*Config)) *house {
	tb.Helper()
	dir := tb.TempDir()
	cfg := Defaults()
	cfg.Socket, cfg.Listen, cfg.Admin = filepath.Join(dir, "p.sock"), filepath.Join(dir, "d.sock"), filepath.Join(dir, "a.sock")
	cfg.Policy, cfg.Audit.File = filepath.Join(dir, "policy.toml"), filepath.Join(dir, "audit.log")
	cfg.DockerHost = "unix://" + filepath.Join(dir, "e.sock")
	cfg.Interval = config.Duration{Duration: 100 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	if err := os.WriteFile(cfg.Policy, []byte(policy), 0o600); err != nil {
		tb.Fatal(err)
	}
	stub := &engineStub{}
	l, err := net.Listen("unix", filepath.Join(dir, "e.sock"))
	if err != nil {
		tb.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: stub}}
	srv.Start()
	log, err := logx.New(io.Discard, logx.Config{Level: "error", Format: "text"})
	if err != nil {
		tb.Fatal(err)
	}
	d, err := Open(cfg, log)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		if err := d.Serve(ctx); err != nil {
			tb.Error(err)
		}
	})
	work.Go(func() { d.Run(ctx, nil) })
	tb.Cleanup(func() {
		cancel()
		work.Wait()
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
		srv.Close()
		if _, ok := tb.(*testing.T); ok {
			goleak.VerifyNone(tb)
		}
	})
	testx.Eventually(tb, 10*time.Second, func() error {
		_, err := api.New(cfg.Admin).Status(context.Background())
		return err
	})
	return &house{d, cfg, stub}
}

// ask sends bytes to a socket and reads so many answers.
func (h *house) ask(t *testing.T, socket, text string, n int) (codes []int, bodies []string) {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.WriteString(c, text) }()
	r := bufio.NewReader(c)
	for range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return append(codes, 0), append(bodies, err.Error())
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		codes, bodies = append(codes, resp.StatusCode), append(bodies, string(b))
	}
	return codes, bodies
}

func call(method, uri, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nX-Mos-Authz: guess\r\nX-Mos-Other: y\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, uri, len(body), body)
}

// TestABodyThatDoesNotComeIsNotWaitedFor: else a client that announces one holds what its
// request takes for good.
func TestABodyThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	h := open(t, policyOfMe())
	p := h.newProxy()
	p.bodyLimit = 50 * time.Millisecond
	srv := httptest.NewUnstartedServer(p)
	path := filepath.Join(t.TempDir(), "s")
	srv.Listener.Close()
	var err error
	if srv.Listener, err = net.Listen("unix", path); err != nil {
		t.Fatal(err)
	}
	srv.Config.ConnContext = withPeer
	srv.Start()
	defer srv.Close()
	head := "POST /v1.41/containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
	codes, bodies := h.ask(t, path, head, 1)
	if codes[0] != http.StatusBadRequest || !strings.Contains(bodies[0], "the body is cut off") {
		t.Errorf("got %v %q", codes, bodies)
	}
}

// TestWhatFollowsAFailedUpgradeIsJudged: a connection that the Engine did not turn
// into another is no tunnel to it.
func TestWhatFollowsAFailedUpgradeIsJudged(t *testing.T) {
	h := open(t, policyOfMe())
	attach := "POST /v1.41/containers/mine/attach?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
	codes, bodies := h.ask(t, h.cfg.Listen, attach+call("POST", "/v1.41/containers/theirs/stop", ""), 2)
	if codes[0] != 200 || len(codes) < 2 || codes[1] != 403 {
		t.Errorf("got %v %q", codes, bodies)
	}
	// The same for a body that is announced twice, and one that goes on.
	for _, text := range []string{
		"POST /v1.41/containers/mine/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + call("POST", "/v1.41/containers/theirs/stop", ""),
		"POST /v1.41/containers/mine/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n" + call("POST", "/v1.41/containers/theirs/stop", ""),
	} {
		h.ask(t, h.cfg.Listen, text, 2)
		h.stub.mu.Lock()
		for _, r := range h.stub.seen {
			if r.Method == "POST" && strings.Contains(r.URL.Path, "theirs") {
				t.Errorf("%q reached the Engine", r.URL)
			}
		}
		h.stub.mu.Unlock()
	}
}

func TestRequestsAreRewrittenOnTheirWay(t *testing.T) {
	h := open(t, policyOfMe())
	id := fmt.Sprintf("%064d", 1)
	if codes, bodies := h.ask(t, h.cfg.Listen, call("POST", "/v1.41/containers/mine/stop?t=5", ""), 1); codes[0] != 200 {
		t.Fatalf("got %v %q", codes, bodies)
	}
	r, _ := h.stub.last(t)
	if r.URL.String() != "/v1.41/containers/"+id+"/stop?t=5" || r.Header.Get(secretHeader) != h.secret || len(r.Header.Values(secretHeader)) != 1 || r.Header.Get("X-Mos-Other") != "" {
		t.Errorf("got %s %v", r.URL, r.Header)
	}
	h.ask(t, h.cfg.Listen, call("POST", "/v1.41/containers/create?name=n", `{"Image":"i","Labels":null,"HostConfig":{"NetworkMode":"container:mine","NanoCpus":1000000000,"Binds":["missing:/x"]}}`), 1)
	r, body := h.stub.last(t)
	var got struct {
		Labels     map[string]string `json:"Labels"`
		HostConfig map[string]any    `json:"HostConfig"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Labels["mos.owner"] != "a" || got.HostConfig["NetworkMode"] != "container:"+id || !strings.Contains(body, `"NanoCpus":1000000000`) || r.ContentLength != int64(len(body)) {
		t.Errorf("got %s, %v", body, err)
	}
	h.stub.mu.Lock()
	made := false
	for i, r := range h.stub.seen {
		made = made || r.URL.Path == "/volumes/create" && strings.Contains(h.stub.body[i], `"mos.owner":"a"`) && strings.Contains(h.stub.body[i], `"Name":"missing"`)
	}
	h.stub.mu.Unlock()
	if !made {
		t.Error("the volume was not made with its owner")
	}
	_, bodies := h.ask(t, h.cfg.Listen, call("GET", "/v1.41/images/json", ""), 1)
	if bodies[0] != `[{"Id":"1","Labels":null,"RepoTags":["x:1"]},{"Id":"3","Labels":{"mos.builder":"a"},"Extra":1e2}]` {
		t.Errorf("images are %s", bodies[0])
	}
	if codes, bodies := h.ask(t, h.cfg.Listen, call("POST", "/v1.41/containers/create", strings.Repeat(" ", mostBody+1)), 1); codes[0] != 413 {
		t.Errorf("got %v %q", codes, bodies)
	}
	if codes, _ := h.ask(t, h.cfg.Listen, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1); codes[0] != 0 && codes[0] < 400 {
		t.Errorf("HTTP/2 is answered with %v", codes)
	}
}

// TestStepsOfABuildAreNobodysToShare: the classic builder leaves its steps as images, which have
// all that it was given, and the builder's label is on the last one only.
func TestStepsOfABuildAreNobodysToShare(t *testing.T) {
	h := open(t, policyOfMe())
	for _, c := range []string{
		call("GET", "/v1.45/images/step/json", ""), call("GET", "/v1.45/images/step/history", ""),
		call("POST", "/v1.45/containers/create", `{"Image":"step"}`),
	} {
		if codes, bodies := h.ask(t, h.cfg.Listen, c, 1); codes[0] != http.StatusForbidden || !strings.Contains(bodies[0], "image step, which belongs to some build") {
			t.Errorf("got %d %s for %s", codes[0], bodies[0], c)
		}
	}
	if codes, bodies := h.ask(t, h.cfg.Listen, call("GET", "/v1.45/images/pinned/json", ""), 1); codes[0] != http.StatusOK {
		t.Errorf("one that was pulled by its digest: got %d %s", codes[0], bodies[0])
	}
}

// TestAMissingNetworkIsNoMissingImage: after a 404, docker run pulls the image.
func TestAMissingNetworkIsNoMissingImage(t *testing.T) {
	h := open(t, policyOfMe())
	create := call("POST", "/v1.45/containers/create", `{"Image":"i","HostConfig":{"NetworkMode":"gone"}}`)
	if codes, bodies := h.ask(t, h.cfg.Listen, create, 1); codes[0] != http.StatusBadRequest || !strings.Contains(bodies[0], "network gone not found") {
		t.Errorf("got %d %s", codes[0], bodies[0])
	}
	if codes, bodies := h.ask(t, h.cfg.Listen, call("GET", "/v1.45/networks/gone", ""), 1); codes[0] != http.StatusNotFound {
		t.Errorf("got %d %s", codes[0], bodies[0])
	}
}

// TestAnImageThatChangesMeanwhileMakesNothing: containers get the labels of their image,
// which may be another one than was judged, and labels of sets are obeyed by others.
func TestAnImageThatChangesMeanwhileMakesNothing(t *testing.T) {
	h := open(t, policyOfMe())
	create := call("POST", "/v1.45/containers/create", `{"Image":"busybox","Labels":{"x":"y"}}`)
	for labels, want := range map[string]struct {
		code int
		last string
	}{
		`{"x":"y","mos.owner":"a"}`:                                   {http.StatusCreated, "GET /containers/made/json"},
		`{"x":"y","mos.owner":"a","mos.builder":"a","maintainer":""}`: {http.StatusCreated, "GET /containers/made/json"},
		`{"x":"y","mos.owner":"a","mos.set":"web"}`:                   {http.StatusConflict, "DELETE /containers/made?force=1&v=1"},
		`{"x":"y","mos.owner":"a","MOS.spec":"{}"}`:                   {http.StatusConflict, "DELETE /containers/made?force=1&v=1"},
		`{"x":"y","mos.owner":"b"}`:                                   {http.StatusConflict, "DELETE /containers/made?force=1&v=1"},
		`null`:                                                        {http.StatusConflict, "DELETE /containers/made?force=1&v=1"},
		`1`:                                                           {http.StatusBadGateway, "DELETE /containers/made?force=1&v=1"},
	} {
		h.stub.mu.Lock()
		h.stub.made = labels
		h.stub.mu.Unlock()
		codes, bodies := h.ask(t, h.cfg.Listen, create, 1)
		last, _ := h.stub.last(t)
		if got := last.Method + " " + last.URL.RequestURI(); codes[0] != want.code || got != want.last {
			t.Errorf("labels %s: %d %s, last call %s", labels, codes[0], bodies[0], got)
		}
		// The same by an Engine that asks the plugin.
		told := authorization.Request{
			RequestMethod: "POST", RequestURI: "/v1.45/containers/create", RequestHeaders: map[string]string{"Content-Type": "application/json"},
			RequestBody:        []byte(`{"Image":"busybox","Labels":{"x":"y","mos.owner":"a"}}`),
			ResponseStatusCode: http.StatusCreated, ResponseBody: []byte(`{"Id":"made"}`),
		}
		told.RequestHeaders["Content-Length"] = strconv.Itoa(len(told.RequestBody))
		text, err := json.Marshal(told)
		if err != nil {
			t.Fatal(err)
		}
		_, bodies = h.ask(t, h.cfg.Socket, call("POST", "/AuthZPlugin.AuthZRes", string(text)), 1)
		last, _ = h.stub.last(t)
		if got := last.Method + " " + last.URL.RequestURI(); strings.Contains(bodies[0], `"Allow":true`) != (want.code == http.StatusCreated) || got != want.last {
			t.Errorf("labels %s: %s, last call %s", labels, bodies[0], got)
		}
	}
	// What makes no container is not looked at.
	if _, bodies := h.ask(t, h.cfg.Socket, call("POST", "/AuthZPlugin.AuthZRes", `{"RequestUri":"/_ping`), 1); !strings.Contains(bodies[0], `"Allow":true`) {
		t.Error(bodies[0])
	}
}

// TestQuestionsHaveNoTypeOfABody: an Engine that asks plugins makes room for 4 MiB of what has
// one, which took it longer than all else of a question.
func TestQuestionsHaveNoTypeOfABody(t *testing.T) {
	h := open(t, policyOfMe())
	h.ask(t, h.cfg.Listen, call("POST", "/v1.45/containers/create", `{"Image":"busybox","HostConfig":{"Binds":["missing:/x"]}}`), 1)
	h.stub.mu.Lock()
	defer h.stub.mu.Unlock()
	for i, r := range h.stub.seen {
		if got, want := r.Header.Get("Content-Type") != "", h.stub.body[i] != ""; got != want {
			t.Errorf("%s %s: has a Content-Type: %v, want %v", r.Method, r.URL, got, want)
		}
	}
	if len(h.stub.seen) < 4 { // image, volume, its making, the container's
		t.Errorf("the Engine was asked %d times", len(h.stub.seen))
	}
}

// TestANameIsAskedForOnce, also where a request has it twice: else two checks of one decision
// could be of two objects.
func TestANameIsAskedForOnce(t *testing.T) {
	h := open(t, policyOfMe())
	body := `{"Image":"busybox","HostConfig":{"NetworkMode":"container:mine","IpcMode":"container:mine","PidMode":"container:mine"}}`
	for range 2 { // and again by the next decision
		h.ask(t, h.cfg.Listen, call("POST", "/v1.45/containers/create", body), 1)
	}
	h.stub.mu.Lock()
	defer h.stub.mu.Unlock()
	times := 0
	for _, r := range h.stub.seen {
		if r.URL.Path == "/containers/mine/json" {
			times++
		}
	}
	if times != 2 {
		t.Errorf("two decisions asked %d times for one container", times)
	}
}

// TestWhatOneDecisionAsksIsBounded: it is kept, and two answers about one object that is not
// could be of two.
func TestWhatOneDecisionAsksIsBounded(t *testing.T) {
	h := open(t, policyOfMe())
	var links []string
	for i := range mostTold / 100 {
		links = append(links, fmt.Sprintf(`"mine%d:a%d"`, i, i))
	}
	codes, bodies := h.ask(t, h.cfg.Listen, call("POST", "/v1.45/containers/create", `{"Image":"busybox","HostConfig":{"Links":[`+strings.Join(links, ",")+`]}}`), 1)
	if codes[0] != http.StatusForbidden || !strings.Contains(bodies[0], "name fewer objects") {
		t.Errorf("%d %s", codes[0], bodies[0])
	}
	kept := 0
	h.stub.mu.Lock()
	defer h.stub.mu.Unlock()
	for _, r := range h.stub.seen {
		if strings.HasPrefix(r.URL.Path, "/containers/mine") {
			kept += 100 // its answer has more
		}
	}
	if kept == 0 || kept > mostTold {
		t.Errorf("some %d bytes were asked for, of %d at most", kept, mostTold)
	}
}

// TestAnswersAreFlushedWhereTheyAreStreams: each flush is a write, and a wake-up of the client.
func TestAnswersAreFlushedWhereTheyAreStreams(t *testing.T) {
	h := open(t, policyOfMe())
	for uri, want := range map[string]bool{"/v1.45/images/json": false, "/v1.45/containers/mine/logs?stdout=1": true} {
		r := httptest.NewRequest(http.MethodGet, uri, http.NoBody)
		w := httptest.NewRecorder()
		who := &caller{who: policy.Who{Unix: true, UID: uint32(os.Getuid())}}
		h.newProxy().ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, who)))
		if w.Code != http.StatusOK || w.Flushed != want {
			t.Errorf("%s: %d %s, flushed %v", uri, w.Code, w.Body, w.Flushed)
		}
	}
}

// TestAVolumeOfAnotherIsNotTold: an Engine answers the making of a volume that is there with
// that volume, and it may be there only since the lookup.
func TestAVolumeOfAnotherIsNotTold(t *testing.T) {
	h := open(t, policyOfMe())
	for name, want := range map[string]int{"missing": http.StatusCreated, "raced": http.StatusConflict} {
		codes, bodies := h.ask(t, h.cfg.Listen, call("POST", "/v1.45/volumes/create", `{"Name":"`+name+`"}`), 1)
		if codes[0] != want || strings.Contains(bodies[0], "s3cret") != (want == http.StatusCreated) {
			t.Errorf("%s: %d %s", name, codes[0], bodies[0])
		}
		owner := map[int]string{http.StatusCreated: "a", http.StatusConflict: "b"}[want]
		told := authorization.Request{
			RequestMethod: "POST", RequestURI: "/v1.45/volumes/create", RequestHeaders: map[string]string{"Content-Type": "application/json"},
			RequestBody:        []byte(`{"Name":"` + name + `","Labels":{"mos.owner":"a"}}`),
			ResponseStatusCode: http.StatusCreated, ResponseBody: []byte(`{"Name":"v","Labels":{"mos.owner":"` + owner + `"}}`),
		}
		told.RequestHeaders["Content-Length"] = strconv.Itoa(len(told.RequestBody))
		text, err := json.Marshal(told)
		if err != nil {
			t.Fatal(err)
		}
		if _, bodies = h.ask(t, h.cfg.Socket, call("POST", "/AuthZPlugin.AuthZRes", string(text)), 1); strings.Contains(bodies[0], `"Allow":true`) != (owner == "a") {
			t.Errorf("%s by the plugin: %s", name, bodies[0])
		}
	}
}

// TestInspectGoesOnToTheNextKind: docker inspect asks for one kind after the other, until
// something else than that there is none.
func TestInspectGoesOnToTheNextKind(t *testing.T) {
	h := open(t, policyOfMe())
	if codes, bodies := h.ask(t, h.cfg.Listen, call("GET", "/v1.45/plugins/x/json", ""), 1); codes[0] != http.StatusNotFound {
		t.Errorf("got %d %s", codes[0], bodies[0])
	}
	for _, uri := range []string{"/v1.45/plugins/x/json", "/v1.45/volumes/missing"} {
		told := `{"RequestMethod":"GET","RequestUri":"` + uri + `"}`
		if _, bodies := h.ask(t, h.cfg.Socket, call("POST", "/AuthZPlugin.AuthZReq", told), 1); !strings.Contains(bodies[0], `"Allow":false`) || !strings.Contains(bodies[0], "not supported") {
			t.Errorf("%s: got %s", uri, bodies[0])
		}
	}
}

// TestWhatAContainerJoinsAtAStart is by an id before a name, as Engines find it.
func TestWhatAContainerJoinsAtAStart(t *testing.T) {
	for text, want := range map[string]string{
		`{"HostConfig":{"NetworkMode":"net"}}`:                                                                             "[net] []",
		`{"HostConfig":{"NetworkMode":"net"},"NetworkSettings":{"Networks":{"net":{"NetworkID":""}}}}`:                     "[net] []",
		`{"HostConfig":{"NetworkMode":"net"},"NetworkSettings":{"Networks":{"net":{"NetworkID":"other"}}}}`:                "[other] []",
		`{"HostConfig":{"NetworkMode":"default"},"NetworkSettings":{"Networks":{"bridge":{"NetworkID":"gone"}}}}`:          "[bridge] []",
		`{"HostConfig":{"NetworkMode":"container:x","IpcMode":"container:y","PidMode":"host","Links":["/db:/web/alias"]}}`: "[] [x y /db]",
	} {
		var j joins
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			t.Fatal(err)
		}
		if nets, peers := j.joined(); fmt.Sprint(nets, " ", peers) != want {
			t.Errorf("%s: %v %v, want %s", text, nets, peers, want)
		}
	}
}

func TestThePluginFailsClosed(t *testing.T) {
	h := open(t, policyOfMe(), func(c *Config) { c.Lookup = config.Duration{Duration: 200 * time.Millisecond} })
	plugin := func(body string) (int, string) {
		codes, bodies := h.ask(t, h.cfg.Socket, call("POST", "/AuthZPlugin.AuthZReq", body), 1)
		return codes[0], bodies[0]
	}
	for body, want := range map[string]string{
		``: "400", `{}`: `"Allow":false`, `{"RequestMethod":"GET","RequestUri":"/info","RequestPeerCertificates":["x"]}`: "400",
		`{"RequestMethod":"GET","RequestUri":"/info","RequestPeerCertificates":["eHg="]}`:                               "500",
		`{"RequestMethod":"GET","RequestUri":"/info"}`:                                                                  `{"Allow":true}`,
		`{"RequestMethod":"GET","RequestUri":"/info","User":"somebody","UserAuthNMethod":"TLS"}`:                        "does not know you",
		`{"RequestMethod":"GET","RequestUri":"/plugins","RequestHeaders":{"X-Mos-Authz":"` + h.secret + `"}}`:           `{"Allow":true}`,
		`{"RequestMethod":"GET","RequestUri":"/plugins","RequestHeaders":{"X-Mos-Authz":""}}`:                           `"Allow":false`,
		`{"RequestMethod":"POST","RequestUri":"/v1.41/containers/theirs/stop","RequestHeaders":{"Content-Length":"0"}}`: "belongs to b",
		`{"RequestMethod":"POST","RequestUri":"/v1.41/containers/mine/stop","RequestHeaders":{"Content-Length":"0"}}`:   `{"Allow":true}`,
		`{"RequestMethod":"GET","RequestUri":"/info","RequestUri":"/plugins"}`:                                          "400",
	} {
		if code, answer := plugin(body); strconv.Itoa(code) != want && !strings.Contains(answer, want) {
			t.Errorf("%s: got %d %s, want %s", body, code, answer, want)
		}
	}
	// An Engine that does not tell whose an object is.
	hang := make(chan struct{})
	h.stub.mu.Lock()
	h.stub.hang = hang
	h.stub.mu.Unlock()
	begin := time.Now()
	_, answer := plugin(`{"RequestMethod":"POST","RequestUri":"/v1.41/containers/mine/stop","RequestHeaders":{"Content-Length":"0"}}`)
	if !strings.Contains(answer, `"Allow":false`) || time.Since(begin) > 5*time.Second {
		t.Errorf("got %s after %s", answer, time.Since(begin))
	}
	close(hang)
}

func TestTheAuditLogRotatesAndHasNoSecrets(t *testing.T) {
	h := open(t, policyOfMe(), func(c *Config) { c.Audit.Size, c.Audit.Keep = 4096, 2 })
	for range 60 {
		h.ask(t, h.cfg.Listen, call("POST", "/v1.41/containers/create?name=n&hidden=s3cret", `{"Image":"i","Env":["P=s3cret"]}`), 1)
	}
	files, err := filepath.Glob(h.cfg.Audit.File + "*")
	if err != nil || len(files) != 3 {
		t.Fatalf("files are %q, %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || len(text) > 4096 || strings.Contains(string(text), "s3cret") {
			t.Errorf("%s has %d bytes: %s, %v", f, len(text), text, err)
		}
		for line := range strings.Lines(string(text)) {
			var l Line
			if err := json.Unmarshal([]byte(line), &l); err != nil || l.Path != "/v1.41/containers/create" || l.Decision != "deny" || l.Front != "socket" || l.Time.IsZero() {
				t.Errorf("%s: %+v, %v", line, l, err)
			}
		}
	}
}

func TestWhatCannotBeNotedIsDenied(t *testing.T) {
	h := open(t, policyOfMe(), func(c *Config) { c.Audit.Required = true })
	if codes, bodies := h.ask(t, h.cfg.Listen, call("GET", "/_ping", ""), 1); codes[0] != 200 {
		t.Fatalf("got %v %q", codes, bodies)
	}
	h.audit.mu.Lock()
	h.audit.f.Close()
	h.audit.mu.Unlock()
	if codes, bodies := h.ask(t, h.cfg.Listen, call("GET", "/_ping", ""), 1); codes[0] != 403 || !strings.Contains(bodies[0], "cannot be noted") {
		t.Errorf("got %v %q", codes, bodies)
	}
	h.audit.mu.Lock()
	defer h.audit.mu.Unlock()
	if err := h.audit.open(); err != nil {
		t.Error(err)
	}
}

func TestExplainTellsAndDoesNotAct(t *testing.T) {
	h := open(t, policyOfMe())
	c := api.New(h.cfg.Admin)
	e, err := c.Explain(t.Context(), api.ExplainRequest{Who: fmt.Sprintf("uid=%d", os.Getuid()), Method: "POST", URI: "/v1.41/containers/create", Body: `{"Image":"i"}`})
	if err != nil || !e.Allow || e.Subject != "a" || e.Profile != "tenant" || !strings.Contains(e.Change, "mos.owner=a") {
		t.Errorf("got %+v, %v", e, err)
	}
	e, err = c.Explain(t.Context(), api.ExplainRequest{Who: "local", Front: "plugin", Method: "POST", URI: "/v1.41/containers/theirs/stop"})
	if err != nil || e.Allow || !strings.Contains(e.Reason, "belongs to b") || e.Object != "container x" {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := c.Explain(t.Context(), api.ExplainRequest{Who: "me", Method: "GET", URI: "/"}); err == nil {
		t.Error("who=me is taken")
	}
	s, err := c.Status(t.Context())
	if err != nil || s.Engine != "29.2.0" || s.Warning == "" {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := os.Stat(h.cfg.Audit.File); err == nil {
		if text, _ := os.ReadFile(h.cfg.Audit.File); len(text) > 0 {
			t.Errorf("explanations are noted: %s", text)
		}
	}
}

// TestAReloadThatWasAskedForIsInTheLog, as one is that the daemon did by itself.
func TestAReloadThatWasAskedForIsInTheLog(t *testing.T) {
	h := open(t, policyOfMe(), func(c *Config) { c.Interval = config.Duration{Duration: time.Hour} })
	var text bytes.Buffer
	log, err := logx.New(&text, logx.Config{Level: "info", Format: "text"})
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{cfg: h.cfg, log: log, metrics: newMetrics(), engine: h.engine}
	admin := d.admin(pluginsrv.New(pluginsrv.Config{Log: log.Logger, Registry: d.metrics.registry}))
	for content, want := range map[string]string{policyOfMe(): "policy in force", "version = 2": "the policy before it stays in force"} {
		text.Reset()
		if err := os.WriteFile(h.cfg.Policy, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		admin.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "POST", "/v1/reload", nil))
		if !strings.Contains(text.String(), want) {
			t.Errorf("after %q the log has %q", content, text.String())
		}
	}
}

func TestAPolicyThatOthersCanWriteIsNoPolicy(t *testing.T) {
	h := open(t, policyOfMe())
	before := h.inForce.Load().hash
	if err := os.Chmod(h.cfg.Policy, 0o620); err != nil {
		t.Fatal(err)
	}
	if err := h.Reload(); err == nil || !strings.Contains(err.Error(), "can be written by others") || h.inForce.Load().hash != before {
		t.Errorf("got %v", err)
	}
}

// TestAPolicyThatIsNoFileIsNoPolicy: a pipe in its place once kept the reading, and the end
// of the daemon with it, for good.
func TestAPolicyThatIsNoFileIsNoPolicy(t *testing.T) {
	h := open(t, policyOfMe())
	before := h.inForce.Load().hash
	for _, put := range []func(string) error{
		func(path string) error { return syscall.Mkfifo(path, 0o600) },
		func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		if err := errors.Join(os.Remove(h.cfg.Policy), put(h.cfg.Policy)); err != nil {
			t.Fatal(err)
		}
		if err := h.Reload(); err == nil || !strings.Contains(err.Error(), "is no regular file") || h.inForce.Load().hash != before {
			t.Errorf("got %v", err)
		}
	}
}

func TestEnginesThatServeGRPCPastPlugins(t *testing.T) {
	for v, want := range map[string]bool{"20.10.24+dfsg1": false, "26.1.5": false, "28.5.2": false, "29.1.9": false, "29.2.0": true, "29.10.0": true, "30.0.1": true, "v2.0.0-beta.24": true, "dev": true} {
		if got := ungated(v); got != want {
			t.Errorf("%s: got %v", v, got)
		}
	}
}

func TestConfigurationsThatCannotBeMeant(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"socket: want an absolute path": func(c *Config) { c.Socket = "x" },
		"docker_host: want unix":        func(c *Config) { c.DockerHost = "tcp://x" },
		"members of docker":             func(c *Config) { c.Group = "docker" },
		"lookup: want 100ms":            func(c *Config) { c.Lookup.Duration = 0 },
		"there is no audit.file":        func(c *Config) { c.Audit.File, c.Audit.Required = "", true },
		"audit: want a size":            func(c *Config) { c.Audit.Size = 1 },
		"interval: want 100ms at least": func(c *Config) { c.Interval.Duration = 0 },
		"policy: want an absolute path": func(c *Config) { c.Policy = "" },
	} {
		cfg := Defaults()
		change(&cfg)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	cfg := Defaults()
	cfg.Listen, cfg.Audit.File = "", ""
	if err := cfg.Check(); err != nil {
		t.Error(err)
	}
}
