package e2e

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/go-units"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// client speaks HTTP over a unix socket.
func client(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}, Timeout: 10 * time.Second}
}

// TestDiskIsReported: the store as df sees it, images as docker system df, a volume and
// its pool as mos-lvm, in the API, the command and the metrics.
func TestDiskIsReported(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			h := lab.NewVolumes(t, rig.Config{Engine: engine}).Hosts[0]
			socket := h.Path("/run/mos/mosd.sock")
			err := h.StartDaemon(rig.Daemon{Name: "mosd", Argv: []string{lab.Program(t, "mosd"), "-sets.keep=none", "-agent.interval=100ms", "-agent.slow_interval=500ms"}, Ready: func() error {
				_, err := api.New(socket).Status(t.Context())
				return err
			}})
			if err != nil {
				t.Fatal(err)
			}
			h.D("volume", "create", "-d", lab.Lvm, "-o", "size=32m", "data")
			h.D("run", "-d", "--name", "filler", "-v", "data:/data", rig.Image, "sh", "-c", "head -c 8388608 /dev/urandom > /data/f; sync; sleep 1000")

			var d api.Disk
			testx.Eventually(t, 30*time.Second, func() (err error) {
				if d, err = api.New(socket).Disk(t.Context()); err != nil {
					return err
				}
				if len(d.Volumes) != 1 || d.Volumes[0].Used < 8<<20 || len(d.Faults) != 0 {
					return fmt.Errorf("%+v", d)
				}
				return nil
			})
			if v := d.Volumes[0]; v.Name != "data" || v.Size != 32<<20 || v.Used+v.Available > v.Size {
				t.Errorf("volume %+v", v)
			}
			var st syscall.Statfs_t
			if err := syscall.Statfs(h.Path("/var/lib/docker"), &st); err != nil {
				t.Fatal(err)
			}
			if d.Store.Size != st.Blocks*uint64(st.Frsize) {
				t.Errorf("store %+v", d.Store)
			}
			df, _, _ := strings.Cut(h.D("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}"), "\n")
			said := strings.Fields(df)
			if len(said) != 3 || said[0] != "Images" {
				t.Fatal(df)
			}
			size, err := units.FromHumanSize(said[2])
			if err != nil {
				t.Fatal(err)
			}
			// docker rounds to four digits.
			if d.Images == nil || strconv.Itoa(d.Images.Count) != said[1] || math.Abs(float64(d.Images.Size)-float64(size)) > 0.001*float64(size) {
				t.Errorf("images %+v, docker says %s", d.Images, df)
			}
			pool := false
			for _, p := range d.Pools {
				pool = pool || p.Size >= p.Used && p.Used >= 32<<20 && p.Data > 0
			}
			if !pool {
				t.Errorf("pools %+v", d.Pools)
			}

			out := h.Mos("host", "disk", "--format", "{{.Kind}} {{.Name}} {{.Size}}")
			if !strings.Contains(out, "volume data 32MiB") || !strings.Contains(out, "store "+d.Store.Path) || !strings.Contains(out, "images - -") {
				t.Errorf("docker mos host disk says\n%s", out)
			}
			c := client(socket)
			t.Cleanup(c.CloseIdleConnections)
			// The agent sees the container's volume with its next slow sample.
			testx.Eventually(t, 30*time.Second, func() error {
				resp, err := c.Get("http://mosd/metrics")
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if err != nil {
					return err
				}
				for _, want := range []string{fmt.Sprintf("mos_host_images %d\n", d.Images.Count), fmt.Sprintf("mos_host_images_size_bytes %d\n", d.Images.Size), `mos_host_pool_used_percent{pool="`, `volume="data"`} {
					if !strings.Contains(string(b), want) {
						return fmt.Errorf("no %q in the metrics:\n%s", want, b)
					}
				}
				return nil
			})
			h.D("rm", "-f", "filler")
			h.D("volume", "rm", "data")
		})
	}
}
