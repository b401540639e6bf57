package robust

import (
	"context"
	"strings"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// actor is one way in which a part of a host ends and comes back.
type actor struct {
	name     string
	restarts func(live bool) bool // whether containers are started anew
	do       func(context.Context, *lab.Host) error
}

// actors are all of them.
func actors() []actor {
	never := func(bool) bool { return false }
	var out []actor
	for _, d := range []string{lab.Mosbridge, rig.Vswitchd, rig.Ovsdb, rig.Dockerd} {
		restarts := never
		if d == rig.Dockerd {
			restarts = func(live bool) bool { return !live }
		}
		out = append(out,
			actor{"kill_" + d, restarts, func(_ context.Context, h *lab.Host) error {
				if err := h.Kill9(d); err != nil {
					return err
				}
				return h.Start(d)
			}},
			actor{"stop_" + d, restarts, func(_ context.Context, h *lab.Host) error {
				if err := h.Stop(d); err != nil {
					return err
				}
				return h.Start(d)
			}})
	}
	return append(out,
		actor{"kill_containerd", never, func(ctx context.Context, h *lab.Host) error {
			// dockerd starts it again.
			_, err := h.Exec(ctx, "pkill", "-9", "-x", "containerd")
			return err
		}},
		actor{"power_cut", func(bool) bool { return true }, func(ctx context.Context, h *lab.Host) error {
			return h.Restart(ctx)
		}})
}

// breach is one case of the matrix: restarts that follow each other at once.
type breach []actor

func (b breach) String() string {
	var names []string
	for _, a := range b {
		names = append(names, a.name)
	}
	return strings.Join(names, "-")
}

func (b breach) restarts(live bool) bool {
	for _, a := range b {
		if a.restarts(live) {
			return true
		}
	}
	return false
}

func (b breach) do(ctx context.Context, h *lab.Host) error {
	for _, a := range b {
		if err := a.do(ctx, h); err != nil {
			return err
		}
	}
	return nil
}
