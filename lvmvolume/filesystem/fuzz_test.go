package filesystem

import (
	"os"
	"path/filepath"
	"testing"
)

func FuzzParseSuper(f *testing.F) {
	for _, name := range []string{"ext4", "xfs"} {
		b, err := os.ReadFile(filepath.Join("testdata", name+".super"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		i, ok := parseSuper(head)
		if !ok {
			return
		}
		if i.Size <= 0 || i.BlockSize < 512 || i.Size%i.BlockSize != 0 || len(i.UUID) != 36 {
			t.Errorf("got %+v", i)
		}
		for _, blocks := range []int64{0, 1, i.Size / i.BlockSize, 1 << 40} {
			if n := i.usable(blocks); n < 0 || n > blocks {
				t.Errorf("got %d usable blocks of %d with %+v", n, blocks, i.tail)
			}
		}
	})
}

func FuzzWipefs(f *testing.F) {
	f.Add([]byte(`{"signatures": [{"device":"loop1", "offset":"0x438", "type":"ext4", "uuid":"a", "label":null}]}`))
	f.Fuzz(func(t *testing.T, out []byte) {
		ss, err := parseWipefs(out)
		if err != nil && len(ss) > 0 {
			t.Errorf("got %v and %v", ss, err)
		}
		for _, s := range ss {
			if s.String() == "" {
				t.Errorf("no words for %+v", s)
			}
		}
	})
}

func TestCapabilityIsReadFromStatus(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\n": false,
		"CapEff:\t000001ffffffffff\n":                                      true,
		"CapEff:\t0000000001000000\n":                                      true,
		"CapEff:\tx\n":                                                     false,
		"":                                                                 false,
	} {
		if got := hasCapability(status, 24); got != want {
			t.Errorf("%q: got %v", status, got)
		}
	}
}
