package lvm

import (
	"context"
	"errors"
	"regexp"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// healTries is how often a change runs again after [Client.heal]: the two things
// that it mends may come together.
const healTries = 2

// heal mends what a killed command left in a thin pool, when err says that it
// stands in the way, and tells whether the command may be run again.
//
// A device without a table makes the first command that removes its volume fail,
// and is gone with that.
//
// The other thing is a stray device. When lvcreate of a snapshot is killed, or
// the power fails, after the kernel made the device and before the pool's
// transaction was closed, every later command that creates or removes a volume in
// the pool fails: it makes the device once more, and LVM asks for "manual
// intervention". The device is surely nobody's: it was made within the
// transaction that LVM is about to do, else LVM would have refused the pool for
// its transaction number. It must go before a thin volume takes its number, which
// LVM lets happen, with the data of the snapshot's origin in it.
func (c *Client) heal(ctx context.Context, err error) bool {
	pool, id, ok := stray(err)
	if !ok {
		return poolHeld(err)
	}
	_, err = c.cfg.Runner.Run(ctx, cmdOf([]string{"dmsetup", "message", pool, "0", "delete " + id}))
	return err == nil
}

// stray finds the pool's device and the number of a thin device that LVM did
// not expect in it.
func stray(err error) (pool, id string, ok bool) {
	var e *xexec.Error
	if !errors.As(err, &e) {
		return "", "", false
	}
	m := regexp.MustCompile(`Thin pool (\S+) \(\d+:\d+\) already contain thin device with device_id (\d+)`).FindStringSubmatch(e.Stderr)
	if m == nil {
		return "", "", false
	}
	if _, _, layer, named := SplitDMName(m[1]); !named || layer != "tpool" {
		return "", "", false
	}
	return m[1], m[2], true
}

// poolHeld says that a command failed to put a pool's device away, which a device
// without a table held until then.
func poolHeld(err error) bool {
	var e *xexec.Error
	return errors.As(err, &e) && regexp.MustCompile(`Device \S+-tpool \(\d+:\d+\) is used by another device`).MatchString(e.Stderr)
}
