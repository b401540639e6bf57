package lvm

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// VG is a volume group.
type VG struct {
	Name, UUID string
	Size, Free int64 // bytes
	ExtentSize int64
	Tags       []string
	// MDASize and MDAFree are the smallest metadata area of its devices and
	// what is free in it. The usable part is about half: lvm keeps the old text
	// beside the new one.
	MDASize, MDAFree int64
	MissingPVs       int
	Seqno            int64 // rises with each change
}

// PV is a device of a group, or one with no group, whose VG is empty.
type PV struct {
	Device, UUID, VG string // Device is "[unknown]" when it is missing
	Size, Free       int64
	Missing          bool
}

// LV is a logical volume that is no inner part of another.
type LV struct {
	VG, Name, UUID string
	Size           int64 // bytes; of a thin volume what it may grow to
	MetadataSize   int64 // of a pool
	Type           Type
	Pool           string // of a thin volume
	Zeroes         bool   // a pool zeroes each chunk before its first use
	Origin         string // of a snapshot; empty when that was removed
	Tags           []string
	State          State
	// DataPercent is how much of a pool or thin volume is in use, and
	// MetadataPercent how much of a pool's metadata; -1 when not known, as for
	// inactive ones.
	DataPercent, MetadataPercent float64
	Major, Minor                 int // of the active device, else -1
}

// Report is all that LVM knows of our devices.
type Report struct {
	VGs []VG
	PVs []PV
	LVs []LV
}

// VG returns the group of a name.
func (r Report) VG(name string) (VG, bool) {
	for _, g := range r.VGs {
		if g.Name == name {
			return g, true
		}
	}
	return VG{}, false
}

// LV returns the volume of a name.
func (r Report) LV(vg, name string) (LV, bool) {
	for _, v := range r.LVs {
		if v.Name == name && v.VG == vg {
			return v, true
		}
	}
	return LV{}, false
}

// Report asks for all groups, devices and volumes by one command.
func (c *Client) Report(ctx context.Context) (Report, error) {
	return c.report(ctx, "read LVM's report", c.command("fullreport", reportArgs()...))
}

// HostReport is [Client.Report] for all devices that the host's own LVM sees,
// not only those of our devices file. It is for finding a group's devices, to
// add them; it is slow where there are many.
func (c *Client) HostReport(ctx context.Context) (Report, error) {
	argv := c.hostCommand("fullreport", append([]string{"--config=" + c.settings(false)}, reportArgs()...)...)
	return c.report(ctx, "read the LVM report of the host", argv)
}

func (c *Client) report(ctx context.Context, doing string, argv []string) (Report, error) {
	out, err := c.read(ctx, doing, argv)
	if err != nil {
		return Report{}, err
	}
	r, err := parseReport(out)
	if err != nil {
		return Report{}, fmt.Errorf("%s: %w", doing, err)
	}
	return r, nil
}

type row map[string]string

// parseReport reads what fullreport writes: one group after the other, each a
// list of rows whose values are all strings.
func parseReport(b []byte) (Report, error) {
	var doc struct {
		Report []struct {
			VG []row `json:"vg"`
			PV []row `json:"pv"`
			LV []row `json:"lv"`
		} `json:"report"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return Report{}, err
	}
	var r Report
	p := &fields{}
	for _, g := range doc.Report {
		for _, f := range g.VG {
			if f["vg_name"] != "" { // devices without a group come in a nameless one
				r.VGs = append(r.VGs, p.vg(f))
			}
		}
		for _, f := range g.PV {
			r.PVs = append(r.PVs, p.pv(f))
		}
		for _, f := range g.LV {
			r.LVs = append(r.LVs, p.lv(f))
		}
	}
	return r, p.err
}

// fields turns strings into values and keeps the first error.
type fields struct{ err error }

func (p *fields) fail(field, value string) {
	if p.err == nil {
		p.err = fmt.Errorf("field %s has the value %q", field, value)
	}
}

func (p *fields) num(f row, field string) int64 {
	s := strings.TrimSpace(f[field])
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		p.fail(field, s)
	}
	return n
}

func (p *fields) percent(f row, field string) float64 {
	s := strings.TrimSpace(f[field])
	if s == "" || s == "-1" {
		return -1
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n < 0 || n > 100 {
		p.fail(field, s)
		return -1
	}
	return n
}

func tags(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func (p *fields) vg(f row) VG {
	return VG{
		Name: f["vg_name"], UUID: f["vg_uuid"], Tags: tags(f["vg_tags"]),
		Size: p.num(f, "vg_size"), Free: p.num(f, "vg_free"), ExtentSize: p.num(f, "vg_extent_size"),
		MDASize: p.num(f, "vg_mda_size"), MDAFree: p.num(f, "vg_mda_free"),
		MissingPVs: int(p.num(f, "vg_missing_pv_count")), Seqno: p.num(f, "vg_seqno"),
	}
}

func (p *fields) pv(f row) PV {
	return PV{
		Device: f["pv_name"], UUID: f["pv_uuid"], VG: f["vg_name"],
		Size: p.num(f, "pv_size"), Free: p.num(f, "pv_free"),
		// With --binary a yes is "1", without it is the field's word.
		Missing: f["pv_missing"] == "1" || f["pv_missing"] == "missing",
	}
}

func (p *fields) lv(f row) LV {
	v := LV{
		VG: f["vg_name"], Name: f["lv_name"], UUID: f["lv_uuid"],
		Size: p.num(f, "lv_size"), MetadataSize: p.num(f, "lv_metadata_size"),
		Pool: f["pool_lv"], Origin: f["origin"], Tags: tags(f["lv_tags"]),
		DataPercent: p.percent(f, "data_percent"), MetadataPercent: p.percent(f, "metadata_percent"),
		Major: int(p.num(f, "lv_kernel_major")), Minor: int(p.num(f, "lv_kernel_minor")),
	}
	a, err := parseAttr(f["lv_attr"])
	if err != nil {
		p.fail("lv_attr", f["lv_attr"])
	}
	v.Type, v.State = a.kind(f["lv_layout"]), a.state()
	v.Zeroes = v.Type == ThinPool && a[7] == 'z'
	return v
}
