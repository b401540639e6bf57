package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/lab"
)

// seconds is how long 2 MiB take by TCP.
func seconds(t *testing.T, h *lab.Host, from, to string) float64 {
	t.Helper()
	start := time.Now()
	h.D("exec", from, "netcheck", "send", "-timeout", "60s", "tcp", to+":7000", "2097152")
	return time.Since(start).Seconds()
}

func networkID(h *lab.Host, name string) string {
	return h.D("network", "inspect", "-f", "{{.Id}}", name)
}

func containsMeter(dump string) bool { return strings.Contains(dump, "meter=") }
