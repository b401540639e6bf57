package ovs

import (
	"context"
	"time"
)

// Event says that what is watched came up or went away.
type Event struct {
	Bridge string // "" for the database
	Up     bool
	// First is true for the first event of a watch: what is up may have been
	// up for long.
	First bool
}

// WatchBridge keeps an OpenFlow connection to the bridge and calls f, one event
// at a time, when ovs-vswitchd starts or ceases to serve it, within 100 ms. The
// first call comes at once and tells the present state. After each Up the
// bridge's flows and meters may be gone: the owner replays them. It returns
// when ctx ends, with its cause.
func (c *Client) WatchBridge(ctx context.Context, bridge string, f func(Event)) error {
	return watch(ctx, bridge, f, func(ctx context.Context, up func()) {
		o, done, err := c.dialBridge(ctx, bridge)
		if err != nil {
			return
		}
		defer done()
		up()
		for err == nil { // next answers the switch's echo requests
			_, err = o.next()
		}
	})
}

// WatchDB does the same for the connection to the database.
func (c *Client) WatchDB(ctx context.Context, f func(Event)) error {
	return watch(ctx, "", f, func(ctx context.Context, up func()) {
		db, err := dialDB(ctx, c.dbPath())
		if err != nil {
			return
		}
		defer db.close()
		call, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := db.call(call, "echo", []string{"mos"}); err != nil {
			return
		}
		up()
		select {
		case <-db.gone:
		case <-ctx.Done():
		}
	})
}

// watch runs hold over and over. Hold returns when what it holds is gone, or
// soon when it is not there; it calls up when it is.
func watch(ctx context.Context, bridge string, f func(Event), hold func(ctx context.Context, up func())) error {
	var told, was bool
	tell := func(up bool) {
		if told && up == was || ctx.Err() != nil {
			return
		}
		f(Event{Bridge: bridge, Up: up, First: !told})
		told, was = true, up
	}
	for {
		hold(ctx, func() { tell(true) })
		tell(false)
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
}
