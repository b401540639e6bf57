package lvm

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// PoolStatus is how full an active thin pool is, by the kernel.
type PoolStatus struct {
	VG, Pool string
	// DataUsed and DataTotal are bytes, as MetadataUsed and MetadataTotal are.
	DataUsed, DataTotal         int64
	MetadataUsed, MetadataTotal int64
	ReadOnly                    bool // the metadata cannot be written
	OutOfData                   bool // the data is full, writes err or wait
	NeedsCheck                  bool // must be repaired while it is not active
	Failed                      bool // the pool does no input or output; the figures are 0
	Queues                      bool // waits, instead of erring, when it is full
}

// PoolStatus asks the kernel for one pool. One that is not active is NotFound.
func (c *Client) PoolStatus(ctx context.Context, vg, pool string) (PoolStatus, error) {
	if err := checkLV(vg, pool); err != nil {
		return PoolStatus{}, err
	}
	all, err := c.Pools(ctx)
	if err != nil {
		return PoolStatus{}, err
	}
	for _, p := range all {
		if p.VG == vg && p.Pool == pool {
			return p, nil
		}
	}
	return PoolStatus{}, fault.NotFound("status of thin pool %s/%s: it is not active or does not exist", vg, pool)
}

// Pools asks the kernel for all active pools of the host, by one command that
// waits neither for LVM's locks nor for the pools to write.
func (c *Client) Pools(ctx context.Context) ([]PoolStatus, error) {
	var all []PoolStatus
	err := c.status(ctx, "thin-pool", func(s dmStatus) error {
		p, err := parsePool(s)
		if err == nil {
			all = append(all, p)
		}
		return err
	})
	return all, err
}

// ThinUse is how much of a pool an active thin volume has of its own or shares.
type ThinUse struct {
	VG, LV string
	Mapped int64 // bytes
}

// ThinUses asks the kernel for all active thin volumes of the host, as
// [Client.Pools] does.
func (c *Client) ThinUses(ctx context.Context) ([]ThinUse, error) {
	var all []ThinUse
	err := c.status(ctx, "thin", func(s dmStatus) error {
		u := ThinUse{VG: s.vg, LV: s.lv}
		if len(s.args) > 0 && s.args[0] != "Fail" && s.args[0] != "Error" {
			n, err := strconv.ParseInt(s.args[0], 10, 64)
			if err != nil {
				return err
			}
			u.Mapped = n * sector
		}
		all = append(all, u)
		return nil
	})
	return all, err
}

// dmStatus is a line of dmsetup status.
type dmStatus struct {
	vg, lv string
	length int64 // sectors
	args   []string
}

func (c *Client) status(ctx context.Context, target string, each func(dmStatus) error) error {
	doing := "read the status of " + target + " devices"
	argv := []string{"dmsetup", "status", "--noflush", "--target", target}
	out, err := c.cfg.Runner.Run(ctx, cmdOf(argv))
	if err != nil {
		return mapError(doing, err)
	}
	for line := range strings.Lines(string(out)) {
		s, ok, err := parseStatus(line, target)
		if err == nil && ok {
			err = each(s)
		}
		if err != nil {
			return fmt.Errorf("%s: line %q: %w", doing, strings.TrimSpace(line), err)
		}
	}
	return nil
}

// parseStatus reads "NAME: START LENGTH TARGET ARGS…". Devices that are not
// LVM's, and "No devices found", are not ok.
func parseStatus(line, target string) (s dmStatus, ok bool, err error) {
	name, rest, found := strings.Cut(line, ": ")
	f := strings.Fields(rest)
	if !found || len(f) < 3 || f[2] != target {
		return s, false, nil
	}
	var layer string
	s.vg, s.lv, layer, ok = SplitDMName(name)
	if !ok || (layer != "" && layer != "tpool") {
		return s, false, nil
	}
	s.args = f[3:]
	s.length, err = strconv.ParseInt(f[1], 10, 64)
	return s, err == nil, err
}

// parsePool reads words like "1 15/1024 3/1024 - rw discard_passdown
// error_if_no_space - 1024": transaction, metadata in blocks of 4096 bytes, data
// in chunks, held root, mode and so on; see thin-provisioning.rst of the kernel.
func parsePool(s dmStatus) (PoolStatus, error) {
	p := PoolStatus{VG: s.vg, Pool: s.lv}
	if len(s.args) > 0 && (s.args[0] == "Fail" || s.args[0] == "Error") {
		p.Failed = true
		return p, nil
	}
	if len(s.args) < 7 {
		return p, fmt.Errorf("%d words are too few", len(s.args))
	}
	var blocks, chunks [2]int64
	for i, dst := range []*[2]int64{&blocks, &chunks} {
		used, total, _ := strings.Cut(s.args[1+i], "/")
		for j, n := range []string{used, total} {
			v, err := strconv.ParseInt(n, 10, 64)
			if err != nil || v < 0 {
				return p, fmt.Errorf("%q is no count", s.args[1+i])
			}
			dst[j] = v
		}
	}
	const block = 4096
	chunk := chunkSize(s.length, chunks[1])
	p.MetadataUsed, p.MetadataTotal = blocks[0]*block, blocks[1]*block
	p.DataUsed, p.DataTotal = chunks[0]*chunk, chunks[1]*chunk
	for _, w := range s.args[4:] {
		switch w {
		case "ro":
			p.ReadOnly = true
		case "out_of_data_space":
			p.OutOfData = true
		case "needs_check":
			p.NeedsCheck = true
		case "queue_if_no_space":
			p.Queues = true
		}
	}
	return p, nil
}

// chunkSize finds the bytes of a chunk: the device's length holds a whole number
// of chunks, a multiple of 64 KiB each, and perhaps a rest.
func chunkSize(sectors, chunks int64) int64 {
	const unit = 128
	if chunks == 0 {
		return 0
	}
	n := sectors / chunks
	return max(n/unit*unit, min(n, unit)) * sector
}
