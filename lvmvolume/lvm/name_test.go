package lvm_test

import (
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

func TestNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"v": true, "v-1.2_3+x": true, "V": true, strings.Repeat("v", 127): true, strings.Repeat("v", 128): false,
		"": false, ".": false, "..": false, "-v": false, "a b": false, "a/b": false, "a:b": false, "ä": false,
		"pvmove0": false, "snapshot1": false, "lvol7": false, "a_tdata": false, "x_pmsparey": false, "a_cdata": false, "a_mlog": false,
	} {
		if err := lvm.ValidName(name); (err == nil) != valid {
			t.Errorf("name %q: got %v, want valid %v", name, err, valid)
		}
	}
	for tag, valid := range map[string]bool{
		"mos.a=b/c:d#e!f&g+h-i_j": true, strings.Repeat("t", 1024): true, strings.Repeat("t", 1025): false,
		"": false, "-t": false, "a,b": false, "a b": false, "a@b": false, "a%b": false,
	} {
		if err := lvm.ValidTag(tag); (err == nil) != valid {
			t.Errorf("tag %q: got %v, want valid %v", tag, err, valid)
		}
	}
	if err := lvm.ValidVGName("pvmove_tdata"); err != nil {
		t.Error(err)
	}
}

func FuzzDMName(f *testing.F) {
	f.Add("vg-0", "lv--x-")
	f.Add("-", "-")
	f.Fuzz(func(t *testing.T, vg, lv string) {
		if lvm.ValidVGName(vg) != nil || lvm.ValidName(lv) != nil {
			t.Skip()
		}
		for _, layer := range []string{"", "tpool"} {
			name := lvm.DMName(vg, lv)
			if layer != "" {
				name += "-" + layer
			}
			if g, v, l, ok := lvm.SplitDMName(name); !ok || g != vg || v != lv || l != layer {
				t.Errorf("%q: got %q, %q, %q, %v", name, g, v, l, ok)
			}
		}
	})
}
