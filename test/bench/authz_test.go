package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/authz/api"
	"github.com/mosdocker/mosdocker/authz/judge"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// guarded is two hosts with an Engine and mos-authz each. The first one's is asked
// through the guarded socket, the second one's by its Engine. What nothing can be below
// is beside them: a proxy and a plugin that look at nothing.
type guarded struct {
	admin      [2]*api.Client
	hosts      [3]*rig.Host
	direct     *http.Client // the first Engine, past all
	socket     *http.Client // the same through the guarded socket
	plugin     *http.Client // the second Engine, which asks the plugin
	bareSocket *http.Client // the first Engine through net/http's reverse proxy
	barePlugin *http.Client // the third Engine, which asks a plugin that agrees to all but one call
}

func newGuarded(b *testing.B) *guarded {
	b.Helper()
	r := rig.New(b, rig.Config{Engine: rig.EngineNew, Hosts: len(guarded{}.hosts)})
	g := &guarded{}
	for i := range g.hosts {
		g.hosts[i] = r.Host(i + 1)
	}
	for i := range g.admin {
		h := g.hosts[i]
		run := filepath.Dir(h.Socket())
		g.admin[i] = api.New(filepath.Join(run, "mos", "mos-authz.sock"))
		g.write(b, i, "/etc/mos/policy.toml", policyOf("operator"))
		err := h.StartDaemon(rig.Daemon{Name: "mos-authz", Argv: []string{lab.Program(b, "mos-authz")}, Ready: func() error {
			_, err := g.admin[i].Status(context.Background())
			return err
		}})
		if err != nil {
			b.Fatal(err)
		}
	}
	g.direct, g.plugin = keptClient(g.hosts[0].Socket()), keptClient(g.hosts[1].Socket())
	g.socket = keptClient(filepath.Join(filepath.Dir(g.hosts[0].Socket()), "mos", "docker.sock"))
	g.bareSocket = keptClient(g.bare(b, 0, "proxy", "/run/mos/bare.sock"))
	g.bare(b, 2, "plugin", "/run/docker/plugins/bare.sock")
	g.barePlugin = keptClient(g.hosts[2].Socket())
	for i, name := range map[int]string{1: "mos-authz", 2: "bare"} {
		g.write(b, i, "/etc/docker/daemon.json", `{"authorization-plugins":["`+name+`"]}`)
		if err := g.hosts[i].Signal(rig.Dockerd, syscall.SIGHUP); err != nil {
			b.Fatal(err)
		}
	}
	g.policy(b, "tenant")
	for _, c := range []*http.Client{g.plugin, g.barePlugin} {
		testx.Eventually(b, time.Minute, func() error {
			resp, err := c.Get("http://docker/plugins")
			if err != nil {
				return err
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				return fmt.Errorf("the plugin is not asked yet: %s", resp.Status)
			}
			return nil
		})
	}
	return g
}

// bareEnv names what this program is instead of a test: proxy or plugin, and its socket.
const bareEnv = "MOS_BENCH_BARE"

// bare starts a server that looks at nothing, in a process of its own like mos-authz, and
// returns its socket as seen from here.
func (g *guarded) bare(b *testing.B, host int, kind, socket string) string {
	b.Helper()
	seen := filepath.Join(filepath.Dir(g.hosts[host].Socket()), strings.TrimPrefix(socket, "/run"))
	err := os.MkdirAll(filepath.Dir(seen), 0o755)
	if err == nil {
		err = g.hosts[host].StartDaemon(rig.Daemon{Name: "bare-" + kind, Argv: []string{os.Args[0]}, Env: []string{bareEnv + "=" + kind + " " + socket}, Ready: func() error {
			c, err := net.Dial("unix", seen)
			if err == nil {
				err = c.Close()
			}
			return err
		}})
	}
	if err != nil {
		b.Fatal(err)
	}
	return seen
}

// serveBare is the process of [guarded.bare].
func serveBare(what string) error {
	kind, socket, _ := strings.Cut(what, " ")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		answer := `{"Allow":true}`
		switch {
		case strings.HasSuffix(r.URL.Path, "Plugin.Activate"):
			answer = `{"Implements":["authz"]}`
		case bytes.Contains(text, []byte(`"/plugins"`)): // by which it is seen that this is asked
			answer = `{"Allow":false}`
		}
		_, _ = io.WriteString(w, answer)
	})
	if kind == "proxy" {
		h = &httputil.ReverseProxy{
			Transport: keptClient("/run/docker.sock").Transport,
			Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "docker" },
		}
	}
	return (&http.Server{Handler: h, ReadHeaderTimeout: time.Minute}).Serve(l)
}

// policyOf makes the user of this host one of a profile, with more requests than one asks:
// they are counted all the same.
func policyOf(profile string) string {
	return "version = 1\n[[who]]\nname = 'a'\nlocal = true\nuid = [0]\nprofile = 'many'\n" +
		"[profile.many]\nbased = '" + profile + "'\nlimits = {requests = 1e6, burst = 1000000}\n"
}

func (g *guarded) write(b *testing.B, host int, path, text string) {
	b.Helper()
	p := g.hosts[host].Path(path)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

func (g *guarded) policy(b *testing.B, profile string) {
	b.Helper()
	for i, c := range g.admin {
		g.write(b, i, "/etc/mos/policy.toml", policyOf(profile))
		if _, err := c.Reload(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// keptClient keeps its connections, as tools do that ask often.
func keptClient(socket string) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: 200,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

// ask makes one call and returns its answer and its time in milliseconds.
func ask(b *testing.B, c *http.Client, method, uri, body string, want int) ([]byte, float64) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, "http://docker"+uri, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	start := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	took := ms(start)
	if err != nil || resp.StatusCode != want {
		b.Fatalf("%s %s: %s %s, %v", method, uri, resp.Status, text, err)
	}
	return text, took
}

// BenchmarkGuard is what a decision adds to a call, and what the guarded socket
// lets through.
func BenchmarkGuard(b *testing.B) {
	g := newGuarded(b)
	profiles := []string{"operator", "tenant"}
	calls := []string{"/_ping", "containers/create"}
	questions := map[*http.Client][]float64{}
	times := map[string]map[*http.Client][]float64{}
	past, through := map[int][]float64{}, map[int][]float64{}
	clients := []*http.Client{g.direct, g.socket, g.plugin, g.bareSocket, g.barePlugin}
	for n := 0; b.Loop(); n++ {
		for _, profile := range profiles {
			g.policy(b, profile)
			for _, call := range calls {
				key := call + " " + profile
				if times[key] == nil {
					times[key] = map[*http.Client][]float64{}
				}
				for i := range clients {
					c := clients[(i+n)%len(clients)]
					times[key][c] = append(times[key][c], p50(b, c, call))
				}
			}
		}
		for _, c := range []*http.Client{g.direct, g.barePlugin} {
			questions[c] = append(questions[c], p50(b, c, question))
		}
		for _, count := range []int{10, 100} {
			past[count] = append(past[count], perSecond(b, g.direct, count))
			through[count] = append(through[count], perSecond(b, g.socket, count))
		}
	}
	for _, call := range calls {
		for _, profile := range profiles {
			of := times[call+" "+profile]
			results.add(added(call+" at the guarded socket, "+profile+": added p50", of[g.socket], of[g.direct], 0.25))
			results.add(added(call+" with the plugin, "+profile+": added p50", of[g.plugin], of[g.direct], 0.4))
			results.add(against(call+" at the guarded socket, "+profile, "ms", of[g.socket], "a bare proxy", of[g.bareSocket], goal{}))
			results.add(against(call+" with the plugin, "+profile, "ms", of[g.plugin], "a bare plugin", of[g.barePlugin], goal{}))
		}
	}
	// Whose the image is of a tenant's container has to be asked: by mos-authz past the
	// guarded socket, and with the plugin by a call that goes through it, too.
	of := times["containers/create tenant"]
	results.add(against("containers/create at the guarded socket, tenant", "ms", of[g.socket], "a bare proxy and the question", sums(of[g.bareSocket], questions[g.direct]), goal{}))
	results.add(against("containers/create with the plugin, tenant", "ms", of[g.plugin], "a bare plugin and the question", sums(of[g.barePlugin], questions[g.barePlugin]), goal{}))
	for _, count := range []int{10, 100} {
		results.add(against(fmt.Sprintf("requests a second at the guarded socket, %d clients", count), "1/s", through[count], "the Engine's own", past[count], goal{}))
	}
	results.add(figure{name: "decision on a ping / an exec of a tenant", unit: "us", value: decision(b, "call GET /_ping"), peer: "exec", other: decision(b, "call POST /v1.45/containers/web/exec\nbody {\"Cmd\":[\"sh\"]}"), goal: goal{limit: 5}})
	results.add(figure{name: "decision on a create of a tenant, body read", unit: "us", value: decision(b, "call POST /v1.45/containers/create\nbody {\"Image\":\"busybox\",\"HostConfig\":{\"NetworkMode\":\"bridge\"}}"), goal: goal{limit: 5}})
}

// question is whose the image of a container is.
const question = "/images/absent:1/json"

func sums(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}

// p50 is the median time of a call. A create is of an image that is not there: it is
// judged like others, and its time is not that of making a container.
func p50(b *testing.B, c *http.Client, call string) float64 {
	b.Helper()
	var took []float64
	for range 200 {
		var t float64
		switch call {
		case "/_ping":
			_, t = ask(b, c, http.MethodGet, call, "", http.StatusOK)
		case question:
			_, t = ask(b, c, http.MethodGet, call, "", http.StatusNotFound)
		default:
			_, t = ask(b, c, http.MethodPost, "/v1.45/"+call, `{"Image":"absent:1","Labels":{"mos.owner":"a"},"HostConfig":{"NetworkMode":"bridge"}}`, http.StatusNotFound)
		}
		took = append(took, t)
	}
	return median(took)
}

// added is a figure of what the second of two times is more.
func added(name string, values, without []float64, limit float64) figure {
	diff := make([]float64, len(values))
	for i := range values {
		diff[i] = values[i] - without[i]
	}
	f := against(name, "ms", values, "without", without, goal{limit: limit})
	f.value = median(diff)
	return f
}

func perSecond(b *testing.B, c *http.Client, clients int) float64 {
	b.Helper()
	const window = time.Second
	var work sync.WaitGroup
	counts := make([]int, clients)
	end := time.Now().Add(window)
	for i := range clients {
		work.Go(func() {
			for time.Now().Before(end) {
				resp, err := c.Get("http://docker/_ping")
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				counts[i]++
			}
		})
	}
	work.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / window.Seconds()
}

// decision is the time of one judgment in microseconds, lookups from memory.
func decision(b *testing.B, call string) float64 {
	b.Helper()
	p, err := policy.Parse("bench", []byte(policyOf("tenant")))
	if err != nil {
		b.Fatal(err)
	}
	s, err := judge.ParseSuite("bench", "object container web owner=a\nobject image busybox\nwho uid=0\n"+call+"\nwant allow")
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 10000
	start := time.Now()
	for range rounds {
		if r := s.Run(p); !r[0].OK {
			b.Fatal(r[0].Reason)
		}
	}
	return float64(time.Since(start).Microseconds()) / rounds
}
