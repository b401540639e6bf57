package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// dumpTries is how often an interrupted dump is repeated. The kernel interrupts
// a dump when what it lists changes meanwhile, and answers what it has: a list
// that misses links.
const dumpTries = 20

// dump repeats an interrupted dump.
func dump[T any](ctx context.Context, what string, f func() (T, error)) (v T, err error) {
	for range dumpTries {
		if err = context.Cause(ctx); err != nil {
			break
		}
		if v, err = f(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		var none T
		return none, fmt.Errorf("list %s: %w", what, err)
	}
	return v, nil
}

func allLinks(ctx context.Context) ([]netlink.Link, error) {
	return dump(ctx, "links", func() ([]netlink.Link, error) {
		return netlink.LinkList() //nolint:forbidigo // this is the place that repeats an interrupted dump
	})
}

// addresses returns the addresses of a link, of all links for nil.
func addresses(ctx context.Context, l netlink.Link) ([]netlink.Addr, error) {
	return dump(ctx, "addresses", func() ([]netlink.Addr, error) {
		return netlink.AddrList(l, netlink.FAMILY_ALL) //nolint:forbidigo // this is the place that repeats an interrupted dump
	})
}

// routes returns the routes of one family in the main table.
func routes(ctx context.Context, family int) ([]netlink.Route, error) {
	return dump(ctx, "routes", func() ([]netlink.Route, error) {
		return netlink.RouteList(nil, family) //nolint:forbidigo // this is the place that repeats an interrupted dump
	})
}

// byName returns a link; a missing one gives ErrNotFound. It is no dump: the
// kernel looks up the name.
func byName(ctx context.Context, name string) (netlink.Link, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	l, err := netlink.LinkByName(name) //nolint:forbidigo // this is the place that repeats an interrupted dump
	switch {
	case err == nil:
		return l, nil
	case gone(err):
		return nil, missing(name)
	}
	return nil, fmt.Errorf("look up link %s: %w", name, err)
}
