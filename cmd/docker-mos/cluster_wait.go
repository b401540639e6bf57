package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
)

// waiting is how a command waits for what it changed.
type waiting struct {
	detach  bool
	timeout time.Duration
	// counts says that the number of sets was changed, and not what they are: they may be of the
	// template before, if that which is wished did not get ready.
	counts bool
}

func waitFlags(cmd *cobra.Command) *waiting {
	w := &waiting{}
	cmd.Flags().BoolVarP(&w.detach, "detach", "d", false, "Do not wait until all sets are ready")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 2*time.Minute, "How long to wait until all sets are ready")
	return w
}

// done waits until a service is as wished.
func (w *waiting) done(ctx context.Context, cmd *cobra.Command, c *client.Client, s *api.Service) error {
	if w.detach {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	say := newProgress(cmd)
	defer say.end()
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { tellFailed(ctx, cmd, c, s.Name) })
	why := ""
	for now, err := range follow(ctx, c, s) {
		switch {
		case err != nil && ctx.Err() != nil:
			return hinted(failure(w.over(ctx), "service %s is not as wished %s: %s%s", s.Name, w.until(ctx), why, lastWord(ctx, c, s.Name, why)),
				"the scheduler goes on: docker set service ps "+s.Name+" and docker set explain "+s.Name+" say how far it is")
		case err != nil:
			return err
		}
		var ok bool
		if ok, why = now.AsWished(); ok && now.Held() && !w.counts {
			return failure(errdefs.ErrFailedPrecondition, "%s", paused(now))
		} else if ok {
			return nil
		}
		if now.TakenBack() {
			if !w.counts {
				return takenBack(ctx, c, now)
			}
			if why = fmt.Sprintf("%d of %d sets are ready", now.Status.Ready, now.Spec.Replicas); now.Status.Replicas == now.Spec.Replicas && now.Status.Ready == now.Spec.Replicas {
				return nil
			}
		}
		say.text(s.Name, why)
	}
	return nil
}

// paused says what goes on with an update that is held.
func paused(s *api.Service) string {
	return fmt.Sprintf("service %s is paused: docker set service rollout resume %s goes on with the sets that are not updated", s.Name, s.Name)
}

// lastWord is what a set of a service that is not ready says of why, "" where none does: it knows
// more than the service, which tells of failures that last. What was said is not said again.
func lastWord(ctx context.Context, c *client.Client, service, said string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second) // the caller's time is over
	defer cancel()
	page, err := client.List[api.SetInstance](ctx, c, client.Filter{Service: service})
	if err != nil {
		return "" // that it took too long is the news
	}
	for _, s := range page.Items {
		if s.Status.Message != "" && s.Status.Phase != api.Ready && !strings.Contains(said, s.Status.Message) {
			return "; " + s.Name + ": " + s.Status.Message
		}
	}
	return ""
}

// tellFailed says once of each set of a service that fails why, until ctx ends: who waits may want
// to mend it before the service gives up.
func tellFailed(ctx context.Context, cmd *cobra.Command, c *client.Client, service string) {
	said := map[string]bool{}
	for {
		pause(ctx, 2*time.Second)
		if ctx.Err() != nil {
			return
		}
		page, err := client.List[api.SetInstance](ctx, c, client.Filter{Service: service})
		if err != nil {
			continue // the wait itself says so
		}
		for _, s := range page.Items {
			if text := s.Status.Message; s.Status.Phase == api.Failed && text != "" && !said[text] { // others of the service fail likewise
				said[text] = true
				remarkBy(cmd.ErrOrStderr(), "set", "%s fails: %s", s.Name, text)
			}
		}
	}
}

// over is the class of what ends a wait: its time, or a signal.
func (w *waiting) over(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errdefs.ErrUnavailable
	}
	return context.Cause(ctx)
}

// until is how long it was waited, in words.
func (w *waiting) until(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Sprintf("within %s", w.timeout)
	}
	return "yet"
}

// takenBack is why the last update of a service was, as an error. The event that tells it is
// stored soon after the service says so.
func takenBack(ctx context.Context, c *client.Client, s *api.Service) error {
	why := ""
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for why == "" && soon.Err() == nil {
		events, err := client.List[api.Event](soon, c, client.Filter{})
		if err != nil {
			break // that it was taken back is the news
		}
		for _, e := range events.Items {
			if on := e.Spec.On; on.Kind == api.Services && on.Name == s.Name && e.Spec.What == "rolled-back" && strings.HasPrefix(e.Spec.Text, fmt.Sprintf("from generation %d ", s.Generation)) {
				why = ": " + e.Spec.Cause
			}
		}
		select {
		case <-soon.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return hinted(failure(errdefs.ErrAborted, "the update of service %s was taken back%s", s.Name, why),
		"docker set service update "+s.Name+" with what mends it goes on, docker set service rollout undo "+s.Name+" makes the template before the one that is wished")
}

// follow gives a resource as it is now, and after each change.
func follow[T any, R interface {
	*T
	api.Resource
}](ctx context.Context, c *client.Client, r R) func(func(R, error) bool) {
	name, uid := r.Head().Name, r.Head().UID
	return func(yield func(R, error) bool) {
		now := r
		for {
			if !yield(now, nil) {
				return
			}
			for told, err := range client.Watch[T, R](ctx, c, now.Head().Revision) {
				is := R(told.Object)
				switch {
				case err != nil && ctx.Err() == nil && (errdefs.IsOutOfRange(err) || errdefs.IsUnavailable(err)):
				case err != nil:
					yield(nil, err)
					return
				case told.Name != name:
					continue
				case is == nil || is.Head().UID != uid:
					yield(nil, failure(errdefs.ErrNotFound, "%s %s was removed meanwhile", strings.TrimSuffix(string(r.Kind()), "s"), name))
					return
				default:
					now = is
					if !yield(now, nil) {
						return
					}
					continue
				}
				break // read it again
			}
			var err error
			if now, err = client.Get[T, R](ctx, c, name); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}
