package lab

import (
	"fmt"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/rig"
)

// Cluster makes the host a cluster of its own, under the name h1, with mos-scheduler and a
// mosd that has these arguments, too.
func (h *Host) Cluster(args ...string) {
	h.tb.Helper()
	for _, d := range []rig.Daemon{
		{Name: Scheduler, Argv: []string{Program(h.tb, Scheduler)}, Ready: func() error { _, err := h.TrySet("service", "ls"); return err }},
		{Name: Mosd, Argv: append([]string{Program(h.tb, Mosd), "-cluster.name=h1"}, args...), Ready: func() error {
			_, err := api.New(h.Path("/run/mos/mosd.sock")).Status(h.tb.Context())
			return err
		}},
	} {
		if err := h.StartDaemon(d); err != nil {
			h.tb.Fatal(err)
		}
	}
	testx.Eventually(h.tb, time.Minute, func() error {
		out, err := h.TrySet("host", "ls", "--format", "{{.Name}} {{.State}}")
		if err == nil && strings.TrimSpace(out) != "h1 active" {
			err = fmt.Errorf("hosts: %q", out)
		}
		return err
	})
}
