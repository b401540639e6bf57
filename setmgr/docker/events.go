package docker

import (
	"context"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/label"
)

// Events tells what happens to containers of sets from now on, until ctx ends or the
// Engine goes away, which is the error. ready is called when none is missed from then on.
func (e *Engine) Events(ctx context.Context, ready func(), each func(setmgr.Happened)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// What happens between the call and its answer is told because of Since, which is in
	// the Engine's time.
	now, err := e.now(ctx)
	if err != nil {
		return err
	}
	out := e.c.Events(ctx, client.EventsListOptions{
		Since: now, Filters: make(client.Filters).Add("type", string(events.ContainerEventType)).Add("label", label.Set),
	})
	ready()
	for {
		select {
		case m := <-out.Messages:
			action, detail, _ := strings.Cut(string(m.Action), ": ")
			each(setmgr.Happened{
				At: time.Unix(0, m.TimeNano), ID: m.Actor.ID, Name: m.Actor.Attributes["name"], Action: action, Detail: detail,
				Set: m.Actor.Attributes[label.Set], Member: m.Actor.Attributes[label.Member],
			})
		case err := <-out.Err:
			return e.told(ctx, err)
		}
	}
}

// now is the Engine's time, as its events take it.
func (e *Engine) now(ctx context.Context) (string, error) {
	i, err := e.c.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", e.told(ctx, err)
	}
	return i.Info.SystemTime, nil
}
