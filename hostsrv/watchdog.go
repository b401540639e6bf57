package hostsrv

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
)

// The deadlines of an Engine's answer: one that is later is slow, or hung.
const (
	pingEvery = 3 * time.Second
	slowAfter = 2 * time.Second
	hungAfter = 6 * time.Second
)

// watchEngine looks whether the Engine answers at all. It waits for nothing else, so that
// a hang is known within the deadline and one pause.
func (s *Supervisor) watchEngine(ctx context.Context) {
	every(ctx, func() {
		if e := s.found(); e != nil {
			took, err := timed(ctx, e.Ping)
			if ctx.Err() != nil {
				return
			}
			s.answered(ctx, took, err)
		}
		s.lookAtProcesses(ctx)
		s.restartEngine(ctx)
	})
}

// watchContainers looks whether an Engine that answers does so about each container of
// sets: one of these may hang on its own, by its runtime.
func (s *Supervisor) watchContainers(ctx context.Context) {
	last, learned := "", time.Now()
	every(ctx, func() {
		e := s.found()
		if e == nil || !s.there() {
			return
		}
		last = s.askAbout(ctx, e, last)
		if time.Since(learned) > askLiveRestore {
			s.learn(ctx, e)
			learned = time.Now()
		}
	})
}

// every calls f at each tick of the watch until ctx ends.
func every(ctx context.Context, f func()) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f()
	}
}

// found is the Engine, nil before it was found.
func (s *Supervisor) found() Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.e
}

// timed makes a call that is given up when it hangs. It has taken hungAfter at least then.
func timed(ctx context.Context, call func(context.Context) error) (time.Duration, error) {
	start := time.Now() // before the deadline is set, or what took it all took less
	ctx, cancel := context.WithTimeout(ctx, hungAfter)
	defer cancel()
	err := call(ctx)
	return time.Since(start), err
}

// there says whether the Engine answered the last time.
func (s *Supervisor) there() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engine.State == api.Well || s.engine.State == api.Slow
}

// answered says how the Engine answered.
func (s *Supervisor) answered(ctx context.Context, took time.Duration, err error) {
	state, text := api.Well, ""
	switch {
	case err != nil && took >= hungAfter:
		state, text = api.Hung, fmt.Sprintf("the Engine hangs: it gave no answer within %v; sets run on, but cannot be changed or healed", took.Round(time.Second))
	case err != nil:
		state, text = api.Absent, "the Engine is absent: "+err.Error()
	case took >= slowAfter:
		state, text = api.Slow, fmt.Sprintf("the Engine is slow: its answer took %v", took.Round(time.Millisecond))
	}
	s.mu.Lock()
	news := s.engine.State != state || !s.isKnown()
	if !s.isKnown() {
		close(s.known)
	}
	if s.engine.State != state {
		s.engine.Since = time.Now()
	}
	s.engine.State, s.engine.Took, s.engine.Error = state, float64(took.Microseconds())/1000, text
	if state == api.Well && !s.restarting {
		s.engine.Recovery = ""
	}
	returned := false
	if state == api.Well || state == api.Slow {
		s.answers++
		for _, x := range s.sets {
			if x.away {
				x.back()
				returned = true
			}
		}
	}
	s.mu.Unlock()
	if returned || news {
		s.nudge()
	}
	if !news {
		return
	}
	s.wishes.news()
	if text == "" {
		text = "the Engine answers"
	}
	s.note(ctx, "engine", "", "", text)
}

// isKnown says whether the Engine answered yet, or did not.
func (s *Supervisor) isKnown() bool {
	select {
	case <-s.known:
		return true
	default:
		return false
	}
}

// lost says that the Engine is gone.
func (s *Supervisor) lost(ctx context.Context, err error) {
	if err == nil {
		err = fmt.Errorf("it closed its stream of events")
	}
	s.mu.Lock()
	hung := s.engine.State == api.Hung
	s.mu.Unlock()
	if !hung { // the watchdog knows better
		s.answered(ctx, 0, err)
	}
}

// askAbout asks the Engine about the next container after one, and returns which that
// was.
func (s *Supervisor) askAbout(ctx context.Context, e Engine, after string) string {
	s.mu.Lock()
	var ids []string
	for _, x := range s.sets {
		ids = append(ids, x.ids...)
	}
	s.mu.Unlock()
	slices.Sort(ids)
	i, there := slices.BinarySearch(ids, after)
	if there {
		i++
	}
	if len(ids) == 0 {
		return ""
	}
	id := ids[i%len(ids)]
	why := s.hangs(ctx, e, id)
	if ctx.Err() != nil {
		return id
	}
	s.mu.Lock()
	known := slices.Contains(s.engine.Hung, id)
	s.engine.Hung = slices.DeleteFunc(s.engine.Hung, func(h string) bool { return h == id || !slices.Contains(ids, h) })
	if why != "" {
		s.engine.Hung = append(s.engine.Hung, id)
	}
	s.mu.Unlock()
	switch {
	case why != "" && !known:
		s.note(ctx, "engine", "", "", fmt.Sprintf("container %.12s hangs: %s", id, why))
	case why == "" && known:
		s.note(ctx, "engine", "", "", fmt.Sprintf("container %.12s does not hang any more", id))
	}
	return id
}

// hangs says why a container hangs, "" when it does not: by a lock that the Engine waits
// for, or by its shim, which nobody has asked for anything yet. An Engine that hangs as a
// whole is no reason.
func (s *Supervisor) hangs(ctx context.Context, e Engine, id string) string {
	took, err := timed(ctx, func(ctx context.Context) error {
		_, err := e.PID(ctx, id)
		return err
	})
	if err != nil && took >= hungAfter {
		if _, err := timed(ctx, e.Ping); err != nil { // maybe the Engine does, since then
			return ""
		}
		return "the Engine answers, but not about it"
	}
	if s.Shim == nil {
		return ""
	}
	took, err = timed(ctx, func(ctx context.Context) error { return s.Shim(ctx, id) })
	if err != nil && took >= hungAfter {
		return "its shim does not answer; who stops it or executes something in it will wait"
	}
	return ""
}
