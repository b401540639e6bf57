package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// answerLimit is how long an answer may take.
const answerLimit = 2 * time.Second

// load asks rate times a second, until ctx ends, and prints what came of it.
func load(ctx context.Context, out io.Writer, url string, rate int) error {
	var (
		wg          sync.WaitGroup
		mu          sync.Mutex // guards all below
		sent        int
		failed      int
		first, last time.Time
		why         error
	)
	client := &http.Client{Timeout: answerLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for ctx.Err() == nil {
		wg.Go(func() {
			start := time.Now()
			err := get(context.WithoutCancel(ctx), client, io.Discard, url)
			mu.Lock()
			defer mu.Unlock()
			if sent++; err == nil {
				return
			}
			if failed++; failed == 1 || start.Before(first) {
				first, why = start, err
			}
			if start.After(last) {
				last = start
			}
		})
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	wg.Wait()
	if _, err := fmt.Fprintf(out, "sent %d failed %d outage %v\n", sent, failed, last.Sub(first).Round(time.Millisecond)); err != nil {
		return err
	}
	if failed > 0 {
		_, err := fmt.Fprintf(out, "the first: %v\n", why)
		return err
	}
	return nil
}
