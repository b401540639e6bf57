package lvm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

// The recorded reports hold a linear volume, a pool, a thin volume with a
// snapshot, and an empty second group.
func TestReportsOfBothVersionsAreRead(t *testing.T) {
	for _, version := range []string{"2.03.16", "2.03.31"} {
		recorded, err := os.ReadFile(filepath.Join("testdata", "report-"+version+".json"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := lvm.ParseReport(recorded)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, g := range r.VGs {
			g.UUID, g.MDAFree, g.Seqno = "", 0, 0 // differ from run to run
			fmt.Fprintf(&b, "%+v\n", g)
		}
		for _, p := range r.PVs {
			p.UUID = ""
			fmt.Fprintf(&b, "%+v\n", p)
		}
		for _, v := range r.LVs {
			v.UUID, v.Minor = "", min(v.Minor, 0)
			fmt.Fprintf(&b, "%+v\n", v)
		}
		testx.Golden(t, "report.golden", b.String())
	}
}

func TestAttributesOfVolumes(t *testing.T) {
	for attr, want := range map[string]struct {
		kind  lvm.Type
		state lvm.State
	}{
		"Vwi-aotz--": {lvm.ThinVolume, lvm.State{Active: true, Open: true}},
		"Vwi---tz-k": {lvm.ThinVolume, lvm.State{}},
		"Vri-a-tz-k": {lvm.ThinVolume, lvm.State{Active: true, ReadOnly: true}},
		"Vwi-s-tz--": {lvm.ThinVolume, lvm.State{Active: true, Suspended: true}},
		"Vwi-d-tz--": {lvm.ThinVolume, lvm.State{Unfinished: true}},
		"Vwi-i-t---": {lvm.ThinVolume, lvm.State{Unfinished: true}},
		"Vwi-XXtzX-": {lvm.ThinVolume, lvm.State{Unknown: true}},
		"Vwi-aotzF-": {lvm.ThinVolume, lvm.State{Active: true, Open: true, Health: lvm.Failed}},
		"twi-aotzD-": {lvm.ThinPool, lvm.State{Active: true, Open: true, Health: lvm.OutOfData}},
		"twi-aotzM-": {lvm.ThinPool, lvm.State{Active: true, Open: true, Health: lvm.MetadataReadOnly}},
		"twi-cotz--": {lvm.ThinPool, lvm.State{Active: true, Open: true, Health: lvm.NeedsCheck}},
		"twi-Cotz--": {lvm.ThinPool, lvm.State{Active: true, Open: true, Suspended: true, Health: lvm.NeedsCheck}},
		"-wi-----p-": {lvm.OtherVolume, lvm.State{Health: lvm.Partial}},
		"swi-I-s---": {lvm.ThickSnapshot, lvm.State{Active: true, Health: lvm.Unsound}},
		"rwi-a-r-r-": {lvm.OtherVolume, lvm.State{Active: true, Health: lvm.NeedsRefresh}},
		"rwi-a-r-m-": {lvm.OtherVolume, lvm.State{Active: true, Health: lvm.Unsound}},
	} {
		kind, state, err := lvm.AttrState(attr)
		if err != nil || kind != want.kind || state != want.state {
			t.Errorf("%s: got %s, %+v, %v, want %+v", attr, kind, state, err, want)
		}
	}
	if _, _, err := lvm.AttrState("-wi"); err == nil {
		t.Error("three letters pass")
	}
}

func TestPoolStatusLines(t *testing.T) {
	for line, want := range map[string]lvm.PoolStatus{
		"vg--0-p--0-tpool: 0 131072 thin-pool 1 121/1024 3/1024 - rw discard_passdown error_if_no_space - 256 ": {
			VG: "vg-0", Pool: "p-0", DataUsed: 3 * 65536, DataTotal: 64 << 20, MetadataUsed: 121 * 4096, MetadataTotal: 4 << 20,
		},
		"vg-p: 0 131072 thin-pool 0 111/1024 1024/1024 - out_of_data_space no_discard_passdown queue_if_no_space - 256": {
			VG: "vg", Pool: "p", DataUsed: 64 << 20, DataTotal: 64 << 20, MetadataUsed: 111 * 4096, MetadataTotal: 4 << 20, OutOfData: true, Queues: true,
		},
		"vg-p: 0 131072 thin-pool 0 1024/1024 0/1000 12 ro discard_passdown error_if_no_space needs_check 256": {
			VG: "vg", Pool: "p", DataTotal: 1000 * 65536, MetadataUsed: 4 << 20, MetadataTotal: 4 << 20, ReadOnly: true, NeedsCheck: true,
		},
		"vg-p-tpool: 0 131072 thin-pool Fail": {VG: "vg", Pool: "p", Failed: true},
	} {
		got, ok, err := lvm.ParsePoolLine(line)
		if err != nil || !ok || got != want {
			t.Errorf("%s: got %+v, %v, %v, want %+v", line, got, ok, err, want)
		}
	}
	for _, line := range []string{"No devices found", "docker-8:1-thinpool: 0 1 thin", "plain: 0 131072 thin-pool 0 1/1 1/1 - rw x y - 1", "vg-p_tdata: 0 131072 linear"} {
		if got, ok, err := lvm.ParsePoolLine(line); ok || err != nil {
			t.Errorf("%s: got %+v, %v", line, got, err)
		}
	}
}

func FuzzReport(f *testing.F) {
	for _, version := range []string{"2.03.16", "2.03.31"} {
		if b, err := os.ReadFile(filepath.Join("testdata", "report-"+version+".json")); err == nil {
			f.Add(b)
		}
	}
	f.Add([]byte(`{"report":[{"vg":[{"vg_name":"a","vg_size":"x"}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := lvm.ParseReport(b)
		for _, v := range r.LVs {
			if err == nil && (v.DataPercent < -1 || v.DataPercent > 100) {
				t.Errorf("got %v percent", v.DataPercent)
			}
		}
	})
}

func FuzzAttributes(f *testing.F) {
	f.Add("Vwi-aotz--")
	f.Fuzz(func(t *testing.T, s string) {
		kind, state, err := lvm.AttrState(s)
		if (len(s) == 10) != (err == nil) || kind == "" || (state.Suspended && !state.Active) || (state.Unfinished && state.Active) {
			t.Errorf("%q: got %q, %+v, %v", s, kind, state, err)
		}
	})
}

func FuzzPoolStatus(f *testing.F) {
	f.Add("vg-p-tpool: 0 131072 thin-pool 1 121/1024 3/1024 - rw discard_passdown error_if_no_space - 256")
	f.Fuzz(func(t *testing.T, line string) {
		if p, ok, err := lvm.ParsePoolLine(line); ok && err == nil && (p.VG == "" || p.Pool == "" || p.DataTotal < 0 && p.DataUsed >= 0) {
			t.Errorf("%q: got %+v", line, p)
		}
	})
}
