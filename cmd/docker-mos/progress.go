package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/docker/cli/cli/streams"
	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

// progressEvery is how often it is said how far something is.
const progressEvery = time.Second

// progress says on standard error how far a command is, when that is a
// terminal. Its methods may be called at once.
type progress struct {
	w    io.Writer // nil: nobody looks
	verb string

	mu     sync.Mutex // guards all below
	said   time.Time
	theirs bool        // the daemon says it, and knows better
	last   string      // text that was said
	due    *time.Timer // says the text that came too soon
}

func newProgress(cmd *cobra.Command) *progress {
	p := &progress{verb: cmd.Name(), said: time.Now()}
	if w := cmd.ErrOrStderr(); terminal(w) {
		p.w = w
	}
	return p
}

// daemon is for what a daemon says on the way.
func (p *progress) daemon(x lvm.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.theirs = true
	p.say(x.Object, x.Done, x.Total)
}

// moved is for bytes that this command moved itself. A total of 0 is unknown.
func (p *progress) moved(object string, done, total uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.theirs {
		p.say(object, done, total)
	}
}

func (p *progress) say(object string, done, total uint64) {
	if p.w == nil || time.Since(p.said) < progressEvery {
		return
	}
	p.said = time.Now()
	far := binary(done)
	if total > 0 {
		far = fmt.Sprintf("%s of %s, %s", far, binary(total), percent(done, total))
	}
	remark(p.w, "%s %s: %s", p.verb, object, far)
}

// text is for what is not bytes. What comes too soon is said when its time is there, unless
// something else came meanwhile: it may be the last for long.
func (p *progress) text(object, far string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil {
		return
	}
	if p.due != nil {
		p.due.Stop()
	}
	line := object + ": " + far
	p.due = time.AfterFunc(progressEvery-time.Since(p.said), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.w == nil || line == p.last {
			return
		}
		p.said, p.last = time.Now(), line
		remarkBy(p.w, "set", "%s", line)
	})
}

// end has nothing more be said.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w = nil
	if p.due != nil {
		p.due.Stop()
	}
}

// counter counts what goes through it.
type counter struct {
	r      io.Reader
	w      io.Writer
	p      *progress
	object string
	total  uint64
	n      uint64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.count(n)
	return n, err
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.count(n)
	return n, err
}

func (c *counter) count(n int) {
	c.n += uint64(n)
	c.p.moved(c.object, c.n, c.total)
}

// terminal says whether a stream of a command is one.
func terminal(stream any) bool {
	switch s := stream.(type) {
	case interface{ IsTerminal() bool }:
		return s.IsTerminal()
	case *os.File:
		return streams.NewIn(s).IsTerminal()
	}
	return false
}
