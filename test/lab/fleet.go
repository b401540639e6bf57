package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/rig"
)

// Fleet is hosts of one cluster: the first has its mos-scheduler, the others are joined to
// it by TLS; two racks; all are in VLAN 100, which is network prod, whose addresses the
// cluster gives.
type Fleet struct {
	*Lab
	Head *Host

	tb       testing.TB
	endpoint string
	token    string // its file, on all hosts
}

// NewFleet makes one; the rig has an outside, by which the hosts see each other.
func NewFleet(tb testing.TB, cfg rig.Config) *Fleet {
	tb.Helper()
	cfg.Outside = true
	f := &Fleet{Lab: NewSets(tb, cfg), tb: tb}
	f.Head = f.Hosts[0]
	f.endpoint = "https://" + f.Head.IPv4() + ":7443"
	f.daemon(f.Head, rig.Daemon{
		Name: Scheduler, Argv: []string{Program(tb, Scheduler), "-listen=0.0.0.0:7443", "-names=" + f.Head.IPv4(), "-engine_away=20s"},
		Ready: func() error { _, err := f.Head.TrySet("service", "ls"); return err },
	})
	f.token = f.File("token", f.Head.MustExec(tb, Program(tb, Scheduler), "token", "create", "rack", "-role", "host", "-ttl", "1h"))
	tb.Cleanup(func() { // what is removed then is not to be healed
		for _, h := range f.Hosts {
			if err := h.Stop(Mosd); err != nil {
				tb.Error(err)
			}
		}
	})
	var work sync.WaitGroup
	for i, h := range f.Hosts {
		work.Go(func() { f.join(h, i%2) })
	}
	work.Wait()
	f.Eventually(func() error { return f.Are("active", f.Hosts...) })
	f.Head.Set("network", "create", "prod", "--subnet", "10.9.0.0/24", "--exclude", "10.9.0.0/28", "--block", "28")
	f.Eventually(f.haveBlocks)
	return f
}

// haveBlocks says whether all hosts have one for containers of no set.
func (f *Fleet) haveBlocks() error {
	for _, h := range f.Hosts {
		out, err := f.Head.TrySet("host", "inspect", "--format", "{{.status.blocks}}", h.Name)
		if err != nil || !strings.Contains(out, "/28") {
			return errors.Join(err, fmt.Errorf("%s has blocks %q", h.Name, out))
		}
	}
	return nil
}

func (f *Fleet) join(h *Host, rack int) {
	h.Network("prod", "--subnet", "10.9.0.0/24", "-o", "mos.uplink=up0", "-o", "mos.vlan=100")
	f.daemon(h, rig.Daemon{
		Name: Mosd, Argv: []string{Program(f.tb, Mosd), "-cluster.name=" + h.Name, fmt.Sprintf("-cluster.labels=rack=r%d", rack)},
		Ready: func() error { _, err := api.New(h.Path("/run/mos/mosd.sock")).Status(f.tb.Context()); return err },
	})
	if h != f.Head {
		h.Mos("host", "join", "--token-file", f.token, f.endpoint)
	}
}

func (f *Fleet) daemon(h *Host, d rig.Daemon) {
	f.tb.Helper()
	if err := h.StartDaemon(d); err != nil {
		f.tb.Error(err)
	}
}

// File writes a file that all hosts see, and returns its path.
func (f *Fleet) File(name, text string) string {
	f.tb.Helper()
	path := filepath.Join(f.tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.tb.Fatal(err)
	}
	return path
}

// Eventually has long enough for hosts that share two processors.
func (f *Fleet) Eventually(check func() error) {
	f.tb.Helper()
	testx.Eventually(f.tb, 2*time.Minute, check)
}

// Are says whether hosts are in a state, as docker set host ls has it.
func (f *Fleet) Are(state string, hosts ...*Host) error {
	out, err := f.Head.TrySet("host", "ls", "--format", "{{.Name}} {{.State}}")
	for _, h := range hosts {
		if err == nil && !slices.Contains(strings.Split(strings.TrimSpace(out), "\n"), h.Name+" "+state) {
			err = fmt.Errorf("%s is not %s: %q", h.Name, state, out)
		}
	}
	return err
}

// Whole says why a host is not an active one that has just the sets that it is to have, all
// of them ready; nil if it is, and no address is kept for a lost host.
func (f *Fleet) Whole(h *Host) error {
	if err := f.Are("active", h); err != nil {
		return err
	}
	out, err := f.Head.TrySet("service", "ps", "--format", "{{.Name}} {{.Host}} {{.Phase}}")
	if err != nil {
		return err
	}
	var want []string
	for line := range strings.Lines(out) {
		w := strings.Fields(line)
		if len(w) != 3 || w[2] != "ready" {
			return errors.New(line)
		}
		if w[1] == h.Name {
			want = append(want, w[0]+".infra")
		}
	}
	have, err := h.Docker("ps", "-a", "--format", "{{.Names}}", "-f", "label=mos.role=infra")
	slices.Sort(want)
	if got := strings.Fields(have); err == nil && !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		err = fmt.Errorf("%s has %q and is to have %q", h.Name, got, want)
	}
	if err != nil {
		return err
	}
	out, err = f.Head.TrySet("network", "ls", "--format", "{{.Lost}}")
	if err == nil && strings.TrimSpace(out) != "0" {
		err = fmt.Errorf("%s addresses are kept for hosts that were lost", out)
	}
	return err
}

// CutOff takes the link to the controllers from a host, whose network of containers stays.
func (f *Fleet) CutOff(h *Host) {
	f.tb.Helper()
	h.MustExec(f.tb, "ip", "link", "set", "out0", "down")
}

// Reach gives it back.
func (f *Fleet) Reach(h *Host) {
	f.tb.Helper()
	h.MustExec(f.tb, "ip", "link", "set", "out0", "up")
	h.MustExec(f.tb, "ip", "route", "replace", "default", "via", "198.51.100.1")
}
