package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// prometheus starts a server that scrapes target and takes remote write.
func prometheus(t *testing.T, target string) (address string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n- job_name: scraped\n  static_configs: [{targets: ['%s']}]\n", target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address = freeAddress(t)
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--web.enable-remote-write-receiver", "--log.level=warn")
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		// It warns of what it cannot read or what came out of order.
		if strings.Contains(log.String(), "level=warn") || strings.Contains(log.String(), "level=error") || t.Failed() {
			t.Errorf("prometheus says: %s", log.String())
		}
	})
	return address
}

// query returns the values of an expression by their job.
func query(address, expr string) (map[string]string, error) {
	resp, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error != "" {
		return nil, fmt.Errorf("%s %w", answer.Error, err)
	}
	out := map[string]string{}
	for _, r := range answer.Data.Result {
		out[r.Metric["job"]] = fmt.Sprint(r.Value[1])
	}
	return out, nil
}

// A real Prometheus gets the same by both ways, and after an outage all that it missed.
func TestPrometheusTakesWhatItScrapesAndWhatIsWritten(t *testing.T) {
	testx.Need(t, testx.Root, testx.Prometheus)
	listen := freeAddress(t)
	prom := prometheus(t, listen)
	defer http.DefaultClient.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	dir := t.TempDir()
	go func() {
		// It starts before Prometheus listens: the first batches wait.
		done <- run(ctx, []string{
			"-config=/dev/null", "-socket=" + dir + "/s", "-state_dir=" + dir, "-cluster.state=" + dir, "-cluster.endpoints=", "-listen=" + listen, "-agent.interval=100ms", "-agent.slow_interval=100ms", "-agent.host_name=h1",
			"-remote_write.url=http://" + prom + "/api/v1/write", "-remote_write.tags=dc=north", "-remote_write.retry=100ms", "-log.level=error",
		}, nil)
	}()
	complete := func() error {
		got, err := query(prom, "mos_host_memory_total_bytes")
		if err == nil && (got["scraped"] == "" || got["scraped"] != got["mosd"]) {
			err = fmt.Errorf("got %v", got)
		}
		if err != nil {
			return err
		}
		// Written from the first sample on: all of them, also those before it listened.
		written, err := query(prom, `count_over_time(mos_agent_samples_total{job="mosd",instance="h1",dc="north"}[1m])`)
		last, err2 := query(prom, `mos_agent_samples_total{job="mosd"} - 1`) // the first is taken before there are sinks
		if err != nil || err2 != nil || written["mosd"] != last["mosd"] || len(written["mosd"]) < 2 {
			return fmt.Errorf("%v written of %v: %w %w", written, last, err, err2)
		}
		return nil
	}
	testx.Eventually(t, 20*time.Second, complete)
	// A configuration that is read again leaves no gap either.
	for range 3 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(150 * time.Millisecond)
	}
	testx.Eventually(t, 10*time.Second, complete)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
