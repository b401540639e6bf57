package lvm

import (
	"context"
	"errors"
	"maps"
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

// LooseParts returns the inner volumes of a group's pools that are active while
// their pool is not, as a killed command leaves them: LVM then refuses to activate
// the pool. [Client.DeactivateParts] takes them away. A command that is under way
// makes some for a moment, too.
func LooseParts(vg string) []string {
	wholes, parts := map[string]bool{}, map[string][]string{}
	for _, name := range deviceNames() {
		group, lv, layer, ok := SplitDMName(name)
		if !ok || group != vg {
			continue
		}
		pool, isPart := lv, false
		for _, end := range []string{"_tmeta", "_tdata"} {
			if p, found := strings.CutSuffix(lv, end); found {
				pool, isPart = p, true
			}
		}
		switch {
		case isPart && layer == "":
			parts[pool] = append(parts[pool], lv)
		case layer == "" || layer == "tpool":
			wholes[pool] = true
		}
	}
	var loose []string
	for pool, lvs := range parts {
		if !wholes[pool] {
			loose = append(loose, lvs...)
		}
	}
	slices.Sort(loose)
	return loose
}

// DeactivateParts takes away what [LooseParts] tells of. Parts that are in use by
// their pool stay, and are an error.
func (c *Client) DeactivateParts(ctx context.Context, vg string, parts ...string) error {
	if err := ValidVGName(vg); err != nil {
		return err
	}
	for _, p := range parts {
		if err := validChars("volume", p); err != nil {
			return err
		}
	}
	_, err := c.change(ctx, "deactivate "+subject(vg, parts), append(c.command("lvchange", "--activate=n"), paths(vg, parts)...))
	return err
}

// suspendedDevices are the device mapper's names of suspended devices.
func suspendedDevices() []string {
	var names []string
	for name, dir := range devices() {
		if state, err := os.ReadFile(filepath.Join(dir, "suspended")); err == nil && strings.TrimSpace(string(state)) == "1" {
			names = append(names, name)
		}
	}
	return names
}

func deviceNames() []string { return slices.Collect(maps.Keys(devices())) }

// devices are the device mapper's devices, with their folders in sysfs.
func devices() map[string]string {
	dirs, _ := filepath.Glob("/sys/block/dm-*/dm") // the pattern is well
	out := map[string]string{}
	for _, dir := range dirs {
		if name, err := os.ReadFile(filepath.Join(dir, "name")); err == nil { // else it went away
			out[strings.TrimSpace(string(name))] = dir
		}
	}
	return out
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
