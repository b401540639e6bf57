package dockertest

import (
	"context"
	"errors"
	"time"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/label"
)

// mostHeard is how many events wait for one who listens; more are lost, as by an
// Engine that is restarted.
const mostHeard = 1 << 12

// Events is that of package docker.
func (f *Fake) Events(ctx context.Context, ready func(), each func(setmgr.Happened)) error {
	c := make(chan setmgr.Happened, mostHeard)
	f.mu.Lock()
	f.heard[c] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.heard, c)
	}()
	if err := f.Ping(ctx); err != nil {
		return err
	}
	ready()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case h, there := <-c:
			if !there {
				return errors.New("unexpected EOF")
			}
			each(h)
		}
	}
}

// hangUp ends all streams of events.
func (f *Fake) hangUp() {
	for c := range f.heard {
		close(c)
	}
	clear(f.heard)
}

// tell tells all who listen what happened to a container.
func (f *Fake) tell(b *box, action string) {
	l := b.config.Labels
	h := setmgr.Happened{At: time.Now(), ID: b.id, Name: b.name, Set: l[label.Set], Member: l[label.Member], Action: action}
	for c := range f.heard {
		select {
		case c <- h:
		default:
		}
	}
}

// Ping is that of package docker.
func (f *Fake) Ping(ctx context.Context) error {
	return f.wait(ctx, func() (bool, error) { return !f.hangs, nil })
}

// Hang has the Engine's questions about itself not answered, or answered again.
func (f *Fake) Hang(hangs bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hangs = hangs
	f.wake()
}

// LiveRestores is that of package docker, and SetLiveRestore what it says.
func (f *Fake) LiveRestores(ctx context.Context) (on bool, err error) {
	err = f.wait(ctx, func() (bool, error) { on = f.restores; return !f.hangs, nil })
	return on, err
}

// SetLiveRestore is live-restore of the Engine's configuration.
func (f *Fake) SetLiveRestore(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restores = on
}
