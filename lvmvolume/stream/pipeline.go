package stream

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"
)

// Workers is how many goroutines at most compress or decompress one stream.
const Workers = 2

// depth is how many chunks are under way at once.
const depth = Workers + 3

func workers() int { return min(Workers, runtime.GOMAXPROCS(0)) }

// pipeline takes chunks through three stages. The first and the last see them
// one by one in order, the last in the caller's goroutine; the middle one sees
// [Workers] at a time. An error of any stage counts when its chunk's turn comes
// in the last one, so that all chunks before it have passed.
type pipeline struct {
	produce func(context.Context, *chunk) error // io.EOF: there are no more
	work    func(*chunk) error
	consume func(context.Context, *chunk) error
}

// run returns when all its goroutines have ended. It calls cancel before it
// waits for them, so that cancel must end the ctx.
func (p pipeline) run(ctx context.Context, cancel context.CancelFunc) error {
	free, work, order := make(chan *chunk, depth), make(chan *chunk, depth), make(chan *chunk, depth)
	for range depth {
		free <- &chunk{done: make(chan struct{}, 1)}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(work)
		defer close(order)
		p.first(ctx, free, work, order)
	})
	for range workers() {
		wg.Go(func() {
			for c := range work {
				if c.err = ctx.Err(); c.err == nil {
					c.err = p.work(c)
				}
				c.done <- struct{}{}
			}
		})
	}
	err := p.last(ctx, free, order)
	if err != nil {
		cancel()
	}
	wg.Wait()
	return err
}

// first never blocks on work and order: both have room for all chunks.
func (p pipeline) first(ctx context.Context, free <-chan *chunk, work, order chan<- *chunk) {
	for {
		var c *chunk
		select {
		case c = <-free:
		case <-ctx.Done():
			return
		}
		err := p.produce(ctx, c)
		if errors.Is(err, io.EOF) {
			return
		}
		c.err = err
		order <- c
		if err != nil {
			c.done <- struct{}{}
			return
		}
		work <- c
	}
}

func (p pipeline) last(ctx context.Context, free chan<- *chunk, order <-chan *chunk) error {
	for c := range order {
		<-c.done
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.err != nil {
			return c.err
		}
		if err := p.consume(ctx, c); err != nil {
			return err
		}
		free <- c
	}
	return ctx.Err()
}

// interruptible runs f with a context that f can cancel. When the context ends
// before f does, a read or write that f is blocked in ends too, if setDeadline
// is there to do it, as for pipes and connections.
func interruptible(ctx context.Context, setDeadline func(time.Time) error, f func(context.Context, context.CancelFunc) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if setDeadline == nil {
		return f(ctx, cancel)
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		_ = setDeadline(time.Unix(1, 0)) // if it has none, the call in hand ends when it ends
	})
	defer func() {
		if !stop() {
			<-fired
			_ = setDeadline(time.Time{})
		}
	}()
	return f(ctx, cancel)
}
