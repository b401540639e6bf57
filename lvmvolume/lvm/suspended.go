package lvm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Suspended returns the active volumes of a group that have a suspended device,
// themselves or an inner one. A command that is under way makes some for a moment;
// what a killed one left lasts, and with it the waiting of all who write to the
// volume: [Client.Resume] ends that. It reads files of the kernel and waits for
// nobody.
func Suspended(vg string) []string {
	var lvs []string
	for _, name := range suspendedDevices() {
		group, lv, _, ok := SplitDMName(name)
		if !ok || group != vg {
			continue
		}
		for _, part := range reservedParts() { // mos-pool_tdata is in mos-pool
			lv, _, _ = strings.Cut(lv, part)
		}
		if lv != "" && !slices.Contains(lvs, lv) {
			lvs = append(lvs, lv)
		}
	}
	return lvs
}

// suspendedDevices are the device mapper's names of suspended devices.
func suspendedDevices() []string {
	files, _ := filepath.Glob("/sys/block/dm-*/dm/suspended") // the pattern is well
	var names []string
	for _, f := range files {
		state, err := os.ReadFile(f)
		if err != nil || strings.TrimSpace(string(state)) != "1" {
			continue // or it went away
		}
		if name, err := os.ReadFile(filepath.Join(filepath.Dir(f), "name")); err == nil {
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	return names
}

// Resume ends what [Suspended] tells of: LVM loads the tables again, as the
// group's metadata say, and what it leaves suspended goes on with the table it has.
func (c *Client) Resume(ctx context.Context, vg string, lvs ...string) error {
	err := c.Refresh(ctx, vg, lvs...)
	for _, name := range suspendedDevices() {
		group, _, _, ok := SplitDMName(name)
		if !ok || group != vg {
			continue
		}
		if _, rerr := c.cfg.Runner.Run(ctx, cmdOf([]string{"dmsetup", "resume", name})); rerr != nil {
			err = errors.Join(err, mapError("resume device "+name, rerr))
		}
	}
	return err
}
