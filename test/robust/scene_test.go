package robust

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// What the two containers of a scene are called, and the address and port that
// one of them asks for.
const (
	fixed   = "fixed"
	loose   = "loose"
	fixedIP = "10.9.0.21"
	port    = "8000"
)

// scene is a host with two containers whose life the matrix disturbs.
type scene struct {
	lab    *lab.Lab
	host   *lab.Host
	engine rig.Engine
	live   bool
}

func newScene(tb testing.TB, engine rig.Engine, live bool) *scene {
	tb.Helper()
	l := lab.New(tb, rig.Config{Engine: engine, LiveRestore: live, Outside: true})
	s := &scene{lab: l, host: l.Hosts[0], engine: engine, live: live}
	s.host.Network("red", "--subnet", "10.9.0.0/24")
	s.people(tb)
	return s
}

// people makes the two containers, in place of any that are there.
func (s *scene) people(tb testing.TB) {
	tb.Helper()
	if ids := strings.Fields(s.host.D("ps", "-aq")); len(ids) > 0 {
		s.host.D(append([]string{"rm", "-f"}, ids...)...)
	}
	s.host.Serve(fixed, "red", "--restart=always", "--ip", fixedIP, "-p", port+":7000")
	s.host.Serve(loose, "red", "--restart=always")
	if err := testx.Poll(10*time.Second, func() error { return s.whole(tb.Context(), "") }); err != nil {
		tb.Fatalf("before anything happened: %v", err)
	}
}

// whole says which promise does not hold. An address in stays must still be
// that of the container with the dynamic one.
func (s *scene) whole(ctx context.Context, stays string) error {
	h := s.host
	ip := map[string]string{}
	for _, c := range []string{fixed, loose} {
		var err error
		if ip[c], err = s.address(c); err != nil {
			return err
		}
	}
	if ip[fixed] != fixedIP {
		return fmt.Errorf("%s has %s, asked for %s", fixed, ip[fixed], fixedIP)
	}
	if stays != "" && ip[loose] != stays {
		return fmt.Errorf("%s has %s, had %s", loose, ip[loose], stays)
	}
	for from, to := range map[string]string{fixed: ip[loose], loose: fixedIP} {
		if _, err := h.Docker("exec", from, "netcheck", "send", "-timeout", "3s", "tcp", net.JoinHostPort(to, "7000"), "1048576"); err != nil {
			return fmt.Errorf("%s does not reach %s: %w", from, to, err)
		}
	}
	if _, err := s.lab.Outside().Exec(ctx, "netcheck", "send", "-timeout", "3s", "tcp", net.JoinHostPort(h.IPv4(), port), "1048576"); err != nil {
		return fmt.Errorf("the published port from outside: %w", err)
	}
	if err := s.another(ip); err != nil {
		return err
	}
	return audited(ctx, h)
}

// address is that of a container, which must run.
func (s *scene) address(container string) (string, error) {
	out, err := s.host.Docker("inspect", "-f", "{{.State.Running}} {{.NetworkSettings.Networks.red.IPAddress}}", container)
	if err != nil {
		return "", err
	}
	running, addr, _ := strings.Cut(out, " ")
	if running != "true" || addr == "" {
		return "", fmt.Errorf("%s: running %s with address %q", container, running, addr)
	}
	return addr, nil
}

// another starts one more container, which must get an address of its own and
// reach the others.
func (s *scene) another(ip map[string]string) error {
	out, err := s.host.Docker("run", "--rm", "--network", "red", rig.Image, "sh", "-c", "hostname -i && ping -c1 -W3 "+fixedIP)
	if err != nil {
		return fmt.Errorf("another container: %w", err)
	}
	addr, _, _ := strings.Cut(out, "\n")
	for c, a := range ip {
		if strings.TrimSpace(addr) == a {
			return fmt.Errorf("another container got %s, which %s has", a, c)
		}
	}
	return nil
}

// audited is what docker mos audit finds, as an error.
func audited(ctx context.Context, h *lab.Host) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	a, err := h.API.Audit(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range a.Findings {
		errs = append(errs, fmt.Errorf("audit: %s %s: %s", f.Kind, f.Object, f.Detail))
	}
	return errors.Join(errs...)
}

// survives disturbs the scene and fails the test unless all promises hold soon
// after.
func (s *scene) survives(t *testing.T, b breach) {
	t.Helper()
	stays := ""
	if !b.restarts(s.live) || s.engine == rig.EngineNew {
		var err error
		if stays, err = s.address(loose); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if err := b.do(t.Context(), s.host); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	last := ""
	err := testx.Poll(time.Minute, func() error {
		err := s.whole(t.Context(), stays)
		if err != nil && err.Error() != last {
			last = err.Error()
			t.Logf("%4.1f s: %v", time.Since(back).Seconds(), err)
		}
		return err
	})
	if err != nil {
		t.Fatalf("a minute later: %v", err)
	}
	t.Logf("restarts took %.1f s, whole %.1f s later (with the look at it)", back.Sub(start).Seconds(), time.Since(back).Seconds())
}
