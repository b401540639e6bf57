package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// signals ends the program with the exit code that shells have for a signal, unless a
// command has something to do first: docker takes a plugin that a signal killed for one
// that ended with 255.
type signals struct {
	mu   sync.Mutex // guards tell
	tell func(os.Signal)
}

// listen begins to hear the signals.
func (s *signals) listen() {
	heard := make(chan os.Signal, 8)
	signal.Notify(heard, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(heard, syscall.SIGHUP)
	}
	go func() { // as long as the program
		for sig := range heard {
			s.mu.Lock()
			tell := s.tell
			s.mu.Unlock()
			if tell == nil {
				os.Exit(codeOf(sig)) //nolint:forbidigo // what waits for a person cannot return
			}
			tell(sig)
		}
	}()
}

// to lets signals go to tell until back is called.
func (s *signals) to(tell func(os.Signal)) (back func()) {
	s.set(tell)
	return func() { s.set(nil) }
}

func (s *signals) set(tell func(os.Signal)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell = tell
}

// codeOf is the exit code that shells have for a program that a signal ended.
func codeOf(sig os.Signal) int {
	n, _ := sig.(syscall.Signal)
	return 128 + int(n)
}

// exitError ends the program with a code, and says nothing.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// signalError is why something was not gone on with.
type signalError struct{ os.Signal }

func (e *signalError) Error() string { return e.String() }

// interruptible is a context that ends when somebody wants the program to end, or the
// terminal goes away: what a verb began is then taken back before it does. A second
// Ctrl-C ends it at once. Nobody who reads its output ends it.
func (s *signals) interruptible(parent context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	// docker, told to end alone, tells its plugins.
	unhook := context.AfterFunc(parent, func() { cancel(fault.Unavailable("interrupted (%w)", &signalError{os.Interrupt})) })
	back := s.to(func(sig os.Signal) {
		if sig == os.Interrupt {
			s.set(nil)
		}
		cancel(fault.Unavailable("interrupted (%w)", &signalError{sig}))
	})
	pipe := make(chan os.Signal, 1) // nobody takes what is in it
	signal.Notify(pipe, syscall.SIGPIPE)
	return ctx, func() {
		signal.Stop(pipe)
		back()
		unhook()
		cancel(nil)
	}
}
