package xexec

import (
	"context"
	"sync"
)

// Fake answers commands by a function and remembers them.
type Fake struct {
	// Answer is asked for each command; nil answers with nothing and no error.
	Answer func(c Cmd) ([]byte, error)

	mu   sync.Mutex // guards all below
	runs []Cmd
}

// Run implements [Runner].
func (f *Fake) Run(_ context.Context, c Cmd) ([]byte, error) {
	f.mu.Lock()
	f.runs = append(f.runs, c)
	f.mu.Unlock()
	if f.Answer == nil {
		return nil, nil
	}
	return f.Answer(c)
}

// Runs returns the commands run so far.
func (f *Fake) Runs() []Cmd {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Cmd(nil), f.runs...)
}
