package control_test

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
)

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
