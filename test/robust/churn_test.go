package robust

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

const (
	workers = 8
	patient = 90 * time.Second // one docker command may take so long, with daemons away
	tries   = 20
)

// TestChurn makes and removes containers, eight at a time on four networks,
// while daemons are killed at random. A docker command may fail while a daemon
// is away, but not hang, and in the end nothing may be left, no address may
// have been given twice, and no container may be stuck. MOS_ROUNDS is the number
// of containers on each engine; with MOS_FULL=1 dockerd is killed too.
func TestChurn(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			c := &churn{
				t: t, rounds: number(t, "MOS_ROUNDS", 30), seed: seed(t),
				victims: []string{lab.Mosbridge, rig.Vswitchd, rig.Ovsdb},
				holder:  map[string]string{},
			}
			if full() {
				c.victims = append(c.victims, rig.Dockerd)
			}
			l := lab.New(t, rig.Config{Engine: engine, LiveRestore: true})
			c.h = l.Hosts[0]
			for i := range 4 {
				c.h.Network(fmt.Sprintf("net%d", i), "--subnet", fmt.Sprintf("10.9.%d.0/26", i))
			}
			if err := c.h.Baseline(); err != nil {
				t.Fatal(err)
			}
			c.run()
			c.nothingLeft()
		})
	}
}

type churn struct {
	t       *testing.T
	h       *lab.Host
	rounds  int
	seed    uint64
	victims []string

	next, kills, failed atomic.Int64

	mu     sync.Mutex        // guards all below
	holder map[string]string // of an address, among running containers
}

func (c *churn) run() {
	start := time.Now()
	ctx, stop := context.WithCancel(c.t.Context())
	var killing, working sync.WaitGroup
	killing.Go(func() { c.kill(ctx) })
	for w := range workers {
		working.Go(func() {
			r := chance(c.seed + uint64(w) + 1)
			for n := c.next.Add(1); n <= int64(c.rounds); n = c.next.Add(1) {
				c.life(int(n), r)
			}
		})
	}
	working.Wait()
	stop()
	killing.Wait()
	c.t.Logf("%d containers in %.0f s, MOS_SEED=%d: %d daemons killed, %d docker commands failed meanwhile and were repeated",
		c.rounds, time.Since(start).Seconds(), c.seed, c.kills.Load(), c.failed.Load())
}

// kill ends daemons until ctx ends, and starts each again a little later.
func (c *churn) kill(ctx context.Context) {
	r := chance(c.seed)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(1000+r.IntN(2000)) * time.Millisecond):
		}
		victim := c.victims[r.IntN(len(c.victims))]
		if err := c.h.Kill9(victim); err != nil {
			c.t.Error(err)
		}
		c.kills.Add(1)
		time.Sleep(time.Duration(r.IntN(700)) * time.Millisecond)
		if err := c.h.Start(victim); err != nil {
			c.t.Error(err)
			return
		}
	}
}

// life is that of one container.
func (c *churn) life(n int, r *rand.Rand) {
	name, network := fmt.Sprintf("c%d", n), fmt.Sprintf("net%d", n%4)
	if !c.made(name, network) {
		return
	}
	out, err := c.repeat("inspect", "-f", fmt.Sprintf("{{(index .NetworkSettings.Networks %q).IPAddress}}", network), name)
	if err != nil {
		c.t.Errorf("%s: %v", name, err)
	} else if out != "" {
		c.hold(out, name)
		time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
		c.release(out, name)
	}
	if _, err := c.repeat("rm", "-f", name); err != nil && !strings.Contains(err.Error(), "No such container") {
		c.t.Errorf("%s is stuck: %v", name, err)
	}
}

// made runs a container. What a failed try left is removed before the next.
func (c *churn) made(name, network string) bool {
	var last error
	for range tries {
		_, err := c.docker("run", "-d", "--name", name, "--network", network, rig.Image, "sleep", "1000")
		if err == nil {
			return true
		}
		last = err
		c.failed.Add(1)
		if _, err := c.repeat("rm", "-f", name); err != nil && !strings.Contains(err.Error(), "No such container") {
			c.t.Errorf("%s is stuck after a failed run: %v", name, err)
			return false
		}
		time.Sleep(300 * time.Millisecond) // somebody is away
	}
	c.t.Errorf("%s does not start in %d tries: %v", name, tries, last)
	return false
}

// repeat runs docker until it succeeds or says that there is nothing.
func (c *churn) repeat(args ...string) (out string, err error) {
	for range tries {
		out, err = c.docker(args...)
		if err == nil || strings.Contains(err.Error(), "No such") {
			return out, err
		}
		c.failed.Add(1)
		time.Sleep(300 * time.Millisecond)
	}
	return out, err
}

// docker runs docker, which must not hang.
func (c *churn) docker(args ...string) (string, error) {
	start := time.Now()
	out, err := c.h.Docker(args...)
	if took := time.Since(start); took > patient {
		c.t.Errorf("docker %s took %v: %v", strings.Join(args, " "), took, err)
	}
	return out, err
}

func (c *churn) hold(addr, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.holder[addr]; other != "" {
		c.t.Errorf("%s has the address %s, which %s has", name, addr, other)
	}
	c.holder[addr] = name
}

func (c *churn) release(addr, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holder[addr] == name {
		delete(c.holder, addr)
	}
}

// nothingLeft looks for containers, links, ports and addresses that stayed.
func (c *churn) nothingLeft() {
	if out, err := c.h.Docker("ps", "-a"); err != nil || strings.Count(out, "\n") > 0 {
		c.t.Errorf("containers are left: %v\n%s", err, out)
	}
	start := time.Now()
	err := testx.Poll(time.Minute, func() error {
		return errors.Join(audited(c.t.Context(), c.h), c.leases())
	})
	if err != nil {
		c.t.Errorf("a minute later: %v", err)
	}
	c.t.Logf("audit is empty %.1f s after the last container went", time.Since(start).Seconds())
	c.leaks()
}

// leaks looks for what the host has more of than before. An engine that is
// killed amid its work forgets shims and mounts of its own, which are counted
// only; a link is always ours.
func (c *churn) leaks() {
	err := c.h.LeakCheck()
	if err == nil {
		return
	}
	var ours, engine []string
	for line := range strings.Lines(err.Error()) {
		if slices.Contains(c.victims, rig.Dockerd) && !strings.Contains(line, "left over: link ") {
			engine = append(engine, line)
		} else {
			ours = append(ours, line)
		}
	}
	c.t.Logf("the killed engine forgot %d things of its own", len(engine))
	if len(ours) > 0 {
		c.t.Error(strings.Join(ours, ""))
	}
}

// leases are those of the gateways only.
func (c *churn) leases() error {
	ls, err := c.h.API.Leases(c.t.Context())
	if err != nil {
		return err
	}
	var left []string
	for _, l := range ls {
		if l.State == "held" && !strings.HasSuffix(l.Addr.String(), ".1") {
			left = append(left, l.Addr.String())
		}
	}
	slices.Sort(left)
	if len(left) > 0 {
		return fmt.Errorf("addresses are still held: %v", left)
	}
	return nil
}
