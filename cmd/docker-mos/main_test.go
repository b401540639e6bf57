package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/setmgr"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"docker-mos": main, "docker-set": main})
}

// TestScripts runs testdata/script against daemons with fixed answers. A script
// sees the requests that changed something by the command "requests", and ends
// daemons by "down", all or the one that is named.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			fakes := map[string]*fake{"mosbridge": {answer: bridgeAnswer}, "mos-lvm": {answer: lvmAnswer}, "engine": {answer: engineAnswer}, "mosd": {answer: mosdAnswer}}
			for name, variable := range map[string]string{"mosbridge": "MOS_BRIDGE_SOCKET", "mos-lvm": "MOS_LVM_ADMIN", "mosd": "MOS_MOSD_SOCKET"} {
				socket := filepath.Join(env.WorkDir, name+".sock")
				if err := fakes[name].serve(socket); err != nil {
					return err
				}
				env.Defer(fakes[name].stop)
				env.Setenv(variable, socket)
			}
			engine := filepath.Join(env.WorkDir, "engine.sock")
			if err := fakes["engine"].serve(engine); err != nil {
				return err
			}
			env.Defer(fakes["engine"].stop)
			env.Setenv("DOCKER_HOST", "unix://"+engine)
			env.Values["fakes"] = fakes
			env.Setenv("DOCKER_CONFIG", env.WorkDir)
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command under -race lasts a second longer
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"requests": func(ts *testscript.TestScript, _ bool, _ []string) {
				for _, f := range ts.Value("fakes").(map[string]*fake) {
					_, err := io.WriteString(ts.Stdout(), f.take())
					ts.Check(err)
				}
			},
			// lock changes a set for a while.
			"lock": func(ts *testscript.TestScript, _ bool, args []string) {
				m := &setmgr.Manager{EngineID: engineID()}
				unlock, held, err := m.TryLock(t.Context(), args[0])
				ts.Check(err)
				if !held {
					ts.Fatalf("set %s is locked", args[0])
				}
				time.AfterFunc(patience+500*time.Millisecond, unlock)
			},
			"down": func(ts *testscript.TestScript, _ bool, args []string) {
				for name, f := range ts.Value("fakes").(map[string]*fake) {
					if len(args) == 0 || args[0] == name {
						f.stop()
					}
				}
			},
		},
	})
}

// fake is a daemon with fixed answers.
type fake struct {
	answer func(r *http.Request, body []byte) (any, int)
	stop   func()

	mu   sync.Mutex // guards all below
	seen strings.Builder
}

func (f *fake) serve(socket string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: f}}
	s.Start()
	f.stop = sync.OnceFunc(s.Close)
	return nil
}

func (f *fake) take() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.seen.Reset()
	return f.seen.String()
}

// lines is an answer of several JSON objects, blob one of bytes with what its
// trailer says.
type (
	lines []any
	blob  struct{ data, trailer string }
)

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodGet {
		path := r.URL.Path
		if r.URL.RawQuery != "" {
			path += "?" + r.URL.RawQuery
		}
		f.mu.Lock()
		fmt.Fprintf(&f.seen, "%s %s %s\n", r.Method, path, strings.TrimSpace(string(body)))
		f.mu.Unlock()
	}
	answer, status := f.answer(r, body)
	if b, ok := answer.(blob); ok {
		w.Header().Set("Trailer", lvm.TrailerError)
		_, _ = io.WriteString(w, b.data)
		w.Header().Set(lvm.TrailerError, b.trailer)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	all, ok := answer.(lines)
	if !ok {
		all = lines{answer}
	}
	for _, a := range all {
		_ = enc.Encode(a)
	}
}

func id(c string) string { return strings.Repeat(c, 64) }

func past(hours int) time.Time { return time.Now().Add(time.Duration(-hours) * time.Hour) }

func networks() []api.Network {
	return []api.Network{
		{
			ID: id("a"), Name: "prod", Number: 1, Bridge: "mosbr0", VLAN: 12, Uplink: "eth1", Gateway: "external", MTU: 1500,
			RateIn: 1e8, Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24"), netip.MustParsePrefix("fd00::/64")},
			Gateways: []netip.Addr{netip.MustParseAddr("10.9.0.1")}, Endpoints: 2, Joined: 1, Created: past(26),
		},
		{ID: id("b"), Number: 2, Bridge: "mosbr1", Gateway: "host", NAT: true, MTU: 1400, Subnets: []netip.Prefix{netip.MustParsePrefix("10.200.0.0/24")}, Endpoints: 1, Joined: 1, Created: past(3)},
	}
}

func endpoints() []api.Endpoint {
	addrs := func(s ...string) (out []netip.Addr) {
		for _, a := range s {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	return []api.Endpoint{
		{
			ID: id("1"), Network: id("a"), NetName: "prod", Container: id("c"), Name: "web", State: "joined", Port: "mosp11111111111", Ofport: 3, Number: 7,
			MAC: "02:42:0a:09:00:15", Addrs: addrs("10.9.0.21", "fd00::21"), RateIn: 1e8, RateOut: 2.5e9,
			Stats: api.Stats{RxBytes: 1234567, RxPackets: 900, TxBytes: 42, TxPackets: 1, TxDropped: 5}, Since: past(3),
		},
		{ID: id("2"), Network: id("a"), NetName: "prod", State: "created", Port: "mosp22222222222", MAC: "02:42:0a:09:00:16", Addrs: addrs("10.9.0.22"), Since: past(2)},
		{ID: id("3"), Network: id("b"), Container: id("d"), Name: "db", State: "joined", Port: "mosp33333333333", Ofport: 4, MAC: "02:42:0a:c8:00:02", Addrs: addrs("10.200.0.2"), Since: past(5)},
		{ID: id("4"), Network: id("b"), Container: id("e"), Name: "two", State: "joined", Port: "mosp44444444444", Ofport: 5, MAC: "02:42:0a:c8:00:03", Addrs: addrs("10.200.0.3"), Since: past(5)},
		{ID: id("5"), Network: id("a"), NetName: "prod", Container: id("e"), Name: "two", State: "joined", Port: "mosp55555555555", Ofport: 6, MAC: "02:42:0a:09:00:17", Addrs: addrs("10.9.0.23"), Since: past(5)},
	}
}

func refuse(status int, code, sentence string) (any, int) {
	return map[string]string{"error": sentence, "code": code}, status
}

// bridgeAnswer is mosbridge with two networks and five interfaces.
func bridgeAnswer(r *http.Request, body []byte) (any, int) {
	if ref, ok := strings.CutPrefix(r.URL.Path, "/v1/networks/"); ok {
		for _, n := range networks() {
			if sameRef(ref, n.Name, n.ID) {
				return n, 200
			}
		}
		return refuse(404, "not_found", "no network is called "+ref)
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/status":
		return api.Status{
			Version: "v1.0.0", Started: past(49), Networks: 2, Endpoint: api.EndpointCount{All: 3, Joined: 2},
			Engine: api.EngineStatus{Error: "docker does not answer: connection refused"},
			Switch: api.SwitchStatus{Version: "3.1.0", Bridges: []api.BridgeStatus{{Name: "mosbr0", Datapath: "userspace", Reason: "the kernel has no Open vSwitch", Round: 4, Flows: 61}}},
			Repair: api.RepairStatus{At: past(1), Took: 0.0123, Steps: 2},
		}, 200
	case "GET /v1/networks":
		return networks(), 200
	case "GET /v1/endpoints":
		return endpoints(), 200
	case "GET /v1/ports":
		target := netip.MustParseAddrPort("10.200.0.2:5432")
		return []api.Port{
			{Proto: "tcp", HostIP: netip.MustParseAddr("0.0.0.0"), HostPort: 15432, Target: target, Endpoint: id("3"), Network: id("b"), Container: id("d"), Name: "db"},
			{Proto: "udp", HostIP: netip.MustParseAddr("::"), HostPort: 53, Target: netip.MustParseAddrPort("[fd00::21]:53"), Endpoint: id("1"), Network: id("a"), NetName: "prod", Container: id("c"), Name: "web"},
		}, 200
	case "GET /v1/leases":
		return []api.Lease{
			{Pool: "mosbridge/10.9.0.0/24", Addr: netip.MustParseAddr("10.9.0.21"), State: "held", Owner: "container web", Since: past(3)},
			{Pool: "mosbridge/10.9.0.0/24", Addr: netip.MustParseAddr("10.9.0.99"), State: "kept", Owner: "container gone", Since: past(30)},
		}, 200
	case "POST /v1/leases/forget":
		if strings.Contains(string(body), "10.9.0.21") {
			return refuse(412, "failed_precondition", "address 10.9.0.21 is held by container web: stop it first")
		}
		return struct{}{}, 200
	case "GET /v1/plan":
		return api.Plan{}, 200
	case "POST /v1/rates":
		return api.Plan{Steps: []api.Step{{Op: "set meters", Object: "mosp11111111111", Bridge: "mosbr0", Cause: "limits changed"}}}, 200
	case "POST /v1/trace":
		if strings.Contains(string(body), "10.9.0.66") {
			return api.Trace{Reason: "dropped at table 20: priority 0", Hops: []string{"table 0: in_port=3", "table 20: priority 0"}, Raw: "Datapath actions: drop"}, 200
		}
		return api.Trace{Allowed: true, Reason: "leaves bridge mosbr0 by 4", Hops: []string{"table 0: in_port=3"}, Raw: "Datapath actions: 4"}, 200
	case "GET /v1/audit":
		return api.Audit{Findings: []api.Finding{{Kind: "endpoint", Object: id("2"), Detail: "docker does not know it", Hint: "docker mos net gc"}}}, 200
	case "POST /v1/gc":
		return api.GC{Objects: []api.Finding{{Kind: "endpoint", Object: id("2"), Detail: "docker does not know it"}}}, 200
	case "GET /v1/doctor":
		return api.Doctor{Checks: []api.Check{{Name: "open vswitch answers", OK: true, Detail: "version 3.1.0"}, {Name: "docker answers", Detail: "connection refused", Hint: "start docker"}}}, 200
	case "PUT /v1/loglevel":
		return struct{}{}, 200
	}
	return refuse(404, "not_found", "no such path")
}
