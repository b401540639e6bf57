package control_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
)

// said is what was logged.
type said struct {
	mu   sync.Mutex // guards all below
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) times(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), what)
}

// TestItLeadsAgainSoonAfterTheStoreIsBack shows that a controller whose store was away for
// longer than its term does not wait for the lease that it had.
func TestItLeadsAgainSoonAfterTheStoreIsBack(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for terms to end")
	}
	cluster := statetest.Start(t, 1)
	r := newRigOn(t, func() *clientv3.Client { return cluster.Client(t) }, 0)
	r.config.Term = 6 * time.Second
	r.lead("c1")
	c := r.controllers[0]
	leads := func(want bool) func() error {
		return func() error {
			if c.Leads() != want {
				return fmt.Errorf("it leads: %v", c.Leads())
			}
			return nil
		}
	}
	testx.Eventually(t, patience, leads(true))
	cluster.Kill(0)
	testx.Eventually(t, patience, leads(false))
	<-time.After(r.config.Term + time.Second) // it gave up to leave
	must(t, cluster.Start(0))
	began := time.Now()
	testx.Eventually(t, patience, leads(true))
	// The lease that it had lives for a term and an election from the start of etcd on.
	if took := time.Since(began); took > r.config.Term-time.Second {
		t.Errorf("it leads %s after the store is back", took)
	} else {
		t.Logf("it leads %s after the store is back", took)
	}
}

// TestAStoreWithoutAQuorumIsToldOnce however long it lasts, and once that it is back.
func TestAStoreWithoutAQuorumIsToldOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for a quorum to be missed")
	}
	cluster := statetest.Start(t, 3)
	r := newRigOn(t, func() *clientv3.Client { return cluster.Client(t) }, 0)
	log := &said{}
	r.config.Log = slog.New(slog.NewTextHandler(log, nil))
	r.lead("c1")
	c := r.controllers[0]
	testx.Eventually(t, patience, func() error {
		if !c.Leads() {
			return fmt.Errorf("it does not lead")
		}
		return nil
	})
	cluster.Kill(0)
	cluster.Kill(1)
	const away, back = "the store cannot be followed", "the store is followed again"
	is := func(what string) func() error {
		return func() error {
			if log.times(what) == 0 {
				return fmt.Errorf("nobody says that %s", what)
			}
			return nil
		}
	}
	testx.Eventually(t, patience, is(away))
	<-time.After(10 * time.Second) // it tries 200 times meanwhile
	must(t, cluster.Start(0))
	must(t, cluster.Start(1))
	testx.Eventually(t, patience, is(back))
	if n := log.times(away); n != 1 {
		t.Errorf("%d times: %s", n, away)
	}
	if n := log.times("not leading"); n < 1 || n > 4 {
		t.Errorf("%d times it is said why it does not lead", n)
	}
}
