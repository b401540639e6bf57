package control

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// note is what an event is made of. Notes that differ in their text only become one.
type note struct {
	on    api.Reference
	what  string
	cause string
	text  string
}

func event(n note) *api.Event {
	return &api.Event{
		Meta: api.Meta{Name: uuid.Must(uuid.NewV7()).String()},
		Spec: api.EventSpec{On: n.on, What: n.what, Cause: n.cause, Text: n.text},
	}
}

const mostTexts = 10 // in an event

// events makes events of notes, in their order.
func events(notes []note) []*api.Event {
	type kind struct {
		on          api.Reference
		what, cause string
	}
	var order []kind
	texts := map[kind][]string{}
	for _, n := range notes {
		k := kind{n.on, n.what, n.cause}
		if _, ok := texts[k]; !ok {
			order = append(order, k)
		}
		texts[k] = append(texts[k], n.text)
	}
	all := make([]*api.Event, len(order))
	for i, k := range order {
		t := texts[k]
		text := strings.Join(t[:min(len(t), mostTexts)], ", ")
		if n := len(t) - mostTexts; n > 0 {
			text += fmt.Sprintf(" and %d more", n)
		}
		all[i] = event(note{k.on, k.what, k.cause, text})
	}
	return all
}

// sweep deletes events that are older than they are kept. The next round goes on with
// what it leaves.
func sweep(ctx context.Context, s *state.Store, under *state.Term, before time.Time) error {
	const page = 100
	for p := (state.Page{Limit: page}); ; {
		l, err := state.All[api.Event](ctx, s, p)
		if err != nil {
			return err
		}
		b, n := s.Batch(under), 0
		for _, e := range l.Items { // names begin with their time
			if e.Created.Before(before) {
				b.Delete(e)
				n++
			}
		}
		if n > 0 {
			if _, err := b.Commit(ctx); err != nil {
				return err
			}
		}
		if n < len(l.Items) || l.More == "" {
			return nil
		}
		p.More = l.More
	}
}
