package setmgr_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/setmgr"
)

// TestLock: one at a time for each set of each Engine.
func TestLock(t *testing.T) {
	m, other := &setmgr.Manager{EngineID: t.Name()}, &setmgr.Manager{EngineID: t.Name() + " 2"}
	unlock, err := m.Lock(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	for set, m := range map[string]*setmgr.Manager{"db": m, "web": other} {
		free, err := m.Lock(t.Context(), set)
		if err != nil {
			t.Fatalf("%s: %v", set, err)
		}
		free()
	}
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := m.Lock(soon, "web"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it is locked twice: %v", err)
	}
	unlock()
	if unlock, err = m.Lock(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	unlock()
}
