package keylock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/keylock"
)

func TestOneAtATimeForAName(t *testing.T) {
	var k keylock.Locks
	n := 0
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			defer k.Lock("a")()
			n++ // the race detector and the sum both see two at a time
		})
	}
	wg.Wait()
	if n != 100 {
		t.Errorf("%d of 100", n)
	}
}

func TestNamesDoNotWaitForEachOther(t *testing.T) {
	var k keylock.Locks
	defer k.Lock("a")()
	done := make(chan struct{})
	go func() { k.Lock("b")(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("b waits for a")
	}
	if _, ok := k.TryLock("a"); ok {
		t.Error("a was taken twice")
	}
	unlock, ok := k.TryLock("b")
	if !ok {
		t.Fatal("b is free")
	}
	unlock()
}

func TestWhoWaitsCanGiveUp(t *testing.T) {
	var k keylock.Locks
	unlock := k.Lock("a")
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	time.AfterFunc(10*time.Millisecond, func() { cancel(enough) })
	if _, err := k.LockContext(ctx, "a"); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	unlock()
	again, ok := k.TryLock("a")
	if !ok {
		t.Fatal("who gave up has it")
	}
	again()
	free, err := k.LockContext(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	free()
}
