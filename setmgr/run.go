package setmgr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Event tells how far a step is.
type Event struct {
	Step  plan.Step
	Phase Phase
	// Elapsed is since the step began.
	Elapsed time.Duration
	// Status, Done and Total are of a pull.
	Status      string
	Done, Total int64
	Err         error
}

// Phase is where a step is.
type Phase string

// The phases.
const (
	Begun    Phase = "begun"
	Progress Phase = "progress"
	Done     Phase = "done"
	Failed   Phase = "failed"
)

// run takes the steps of a plan, each as soon as those that it needs are done.
// After the first that fails no other is begun.
type run struct {
	m *Manager
	p plan.Plan

	mu   sync.Mutex // guards all below
	made map[int]string
	errs []error
	// begun are the steps that were, and done those that also ended well.
	begun, done map[int]bool
}

func (m *Manager) run(ctx context.Context, p plan.Plan) (*run, error) {
	r := &run{m: m, p: p, made: map[int]string{}, begun: map[int]bool{}, done: map[int]bool{}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := map[int]chan struct{}{}
	for _, s := range p.Steps {
		over[s.ID] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for _, s := range p.Steps {
		wg.Go(func() {
			defer close(over[s.ID])
			for _, n := range s.Needs {
				<-over[n]
			}
			if !r.failed() {
				r.one(ctx, s)
			}
		})
	}
	wg.Wait()
	return r, errors.Join(r.errs...)
}

func (r *run) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.errs) > 0
}

func (r *run) one(ctx context.Context, s plan.Step) {
	start := time.Now()
	r.m.say(Event{Step: s, Phase: Begun})
	r.mu.Lock()
	r.begun[s.ID] = true
	r.mu.Unlock()
	err := r.do(ctx, s)
	e := Event{Step: s, Phase: Done, Elapsed: time.Since(start), Err: err}
	r.mu.Lock()
	r.done[s.ID] = err == nil || s.MayFail
	if err != nil {
		e.Phase = Failed
	}
	if !r.done[s.ID] {
		r.errs = append(r.errs, fmt.Errorf("%s %s: %w", s.Op, s.Name, err))
	}
	r.mu.Unlock()
	r.m.say(e)
}

// torn are the members whose steps were begun and not ended, and the containers that
// were stopped for another to take their place. A member whose new container has
// begun to get its name is not: that one is ready.
func (r *run) torn() (members []string, stopped map[string]bool) {
	stopped = map[string]bool{}
	begun, open := map[string]bool{}, map[string]bool{}
	for _, s := range r.p.Steps {
		if r.begun[s.ID] {
			begun[s.Member] = true
			stopped[s.Target] = stopped[s.Target] || s.Op == plan.StopOne && s.Back
		}
		open[s.Member] = open[s.Member] || !r.done[s.ID]
	}
	for _, s := range r.p.Steps {
		if r.begun[s.ID] && s.Op == plan.Rename {
			delete(begun, s.Member)
		}
	}
	for m := range begun {
		if m != "" && open[m] {
			members = append(members, m)
		}
	}
	slices.Sort(members)
	return members, stopped
}

// id is the container that a step is about.
func (r *run) id(s plan.Step) string {
	if s.Target != "" {
		return s.Target
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made[s.Made]
}

func (r *run) do(ctx context.Context, s plan.Step) error {
	e, id := r.m.Engine, r.id(s)
	switch s.Op {
	case plan.LoadInfra:
		return r.m.loadInfra(ctx)
	case plan.Pull:
		return r.pull(ctx, s)
	case plan.MakeVolume:
		driver, options := plan.VolumeOptions(s.Volume)
		return e.MakeVolume(ctx, s.Name, driver, options, r.p.Set)
	case plan.SetCap:
		return r.m.Cap.Set(ctx, s.Name, s.Limits)
	case plan.DropCap:
		return r.m.Cap.Drop(ctx, s.Name)
	case plan.Create:
		id, err := e.Create(ctx, *s.Create)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.made[s.ID] = id
		return err
	case plan.Put:
		return put(ctx, e, s, id)
	case plan.Start:
		return e.Start(ctx, id)
	case plan.Wait:
		return r.m.Told(ctx, r.wait(ctx, s, id), id)
	case plan.Settle:
		return r.m.Told(ctx, r.settle(ctx, s, id), id)
	case plan.Hook:
		if s.Within > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(s.Within), fault.Unavailable("it takes longer than %v", time.Duration(s.Within)))
			defer cancel()
		}
		return hook(ctx, e, id, s.Cmd)
	case plan.Limit:
		return e.Limit(ctx, id, s.Limits)
	case plan.Policy:
		return e.SetRestart(ctx, id, s.Policy)
	case plan.StopOne:
		return e.Stop(ctx, id, s.Signal, s.Grace)
	case plan.Kill:
		return e.Kill(ctx, id, s.Signal)
	case plan.Rename:
		return e.Rename(ctx, id, s.NewName)
	case plan.RemoveOne:
		return e.Remove(ctx, id, true)
	case plan.Connect:
		return e.Connect(ctx, s.Net, id)
	case plan.Disconnect:
		return e.Disconnect(ctx, s.Name, id)
	case plan.Grow:
		return r.m.growVolume(ctx, s)
	case plan.DropVolume:
		return e.RemoveVolume(ctx, s.Name)
	}
	return fault.Invalid("step %s is not known", s.Op)
}

func (r *run) pull(ctx context.Context, s plan.Step) error {
	auth := ""
	if r.m.Auth != nil {
		var err error
		if auth, err = r.m.Auth(s.Name); err != nil {
			return err
		}
	}
	return r.m.Engine.Pull(ctx, s.Name, auth, func(status string, done, total int64) {
		r.m.say(Event{Step: s, Phase: Progress, Status: status, Done: done, Total: total})
	})
}

func hook(ctx context.Context, e Engine, id string, cmd []string) error {
	code, out, err := e.Exec(ctx, id, cmd)
	if err == nil && code != 0 {
		err = fault.Conflict("it ended with code %d: %.400s", code, out)
	}
	return err
}

// put puts files into a container; what is in some may be in another.
func put(ctx context.Context, e Engine, s plan.Step, id string) error {
	files := slices.Clone(s.Files)
	for i, f := range files {
		if f.Data != nil {
			continue
		}
		data, err := e.Get(ctx, s.From, f.Path)
		if err != nil {
			return err
		}
		if spec.Digest(data) != f.Digest {
			return fault.Conflict("file %s was changed in the container that had it: docker set up with the set's file, which names the source, gives it anew", f.Path)
		}
		files[i].Data = data
	}
	return e.Put(ctx, id, files)
}
