package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

func drawSpace(t *rapid.T) Space {
	size := rapid.Uint64Range(0, 1<<50)
	return Space{
		Name: "pool", Size: size.Draw(t, "size"), Growth: size.Draw(t, "growth"), Promised: size.Draw(t, "promised"),
		Free: size.Draw(t, "free"), Ratio: rapid.SampledFrom([]float64{0, 0.5, 1, 2.5}).Draw(t, "ratio"),
		Spare: rapid.Uint64Range(0, 1<<45).Draw(t, "spare"),
	}
}

// drawBin draws trashed volumes, some with snapshots of the same age.
func drawBin(t *rapid.T) []spec.Volume {
	var bin []spec.Volume
	for i := range rapid.IntRange(0, 12).Draw(t, "bin") {
		v := volume(fmt.Sprint("v", i), spec.Thin, spec.Trashed)
		v.ID = spec.ID(fmt.Sprintf("%016x", i))
		v.Size, v.Since = rapid.Uint64Range(1, 1<<48).Draw(t, "size"), day(rapid.IntRange(0, 5).Draw(t, "day"))
		bin = append(bin, v)
		for j := range rapid.IntRange(0, 2).Draw(t, "snapshots") {
			s := v
			s.ID, s.Of, s.Snapshot = spec.ID(fmt.Sprintf("%08x%08x", j+1, i)), v.ID, fmt.Sprint("s", j)
			bin = append(bin, s)
		}
	}
	return rapid.Permutation(bin).Draw(t, "order")
}

func sum(vs []spec.Volume) (n uint64) {
	for _, v := range vs {
		n += v.Size
	}
	return n
}

// TestAdmission: never more than the limit, oldest first, nothing needlessly, no
// snapshot left without its volume.
func TestAdmission(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, bin := drawSpace(t), drawBin(t)
		need := rapid.OneOf(rapid.Uint64Range(0, 1<<50), rapid.Just(less(s.Limit(), s.Promised))).Draw(t, "need")
		given := slices.Clone(bin)
		purge, err := s.Admit(need, bin)
		if !slices.Equal(given, bin) {
			t.Fatal("the bin of the caller was changed")
		}
		room := less(s.Limit(), s.Promised)
		if err != nil {
			if !errdefs.IsResourceExhausted(err) || room+sum(bin) >= need {
				t.Fatalf("refused with %v, though there is room for %d of %d", err, room+sum(bin), need)
			}
			return
		}
		if room+sum(purge) < need {
			t.Fatalf("promised %d with room for %d", need, room+sum(purge))
		}
		if n := len(purge); n > 0 && room+sum(purge[:n-1]) >= need {
			t.Fatalf("%s is purged needlessly", purge[n-1].Title())
		}
		stay := slices.DeleteFunc(slices.Clone(bin), func(v spec.Volume) bool {
			return slices.ContainsFunc(purge, func(p spec.Volume) bool { return p.ID == v.ID })
		})
		for _, p := range purge {
			for _, v := range stay {
				if v.Since.Before(p.Since) {
					t.Fatalf("%s is purged, and %s is older", p.Title(), v.Title())
				}
				if v.Of == p.ID {
					t.Fatalf("%s is purged, and its snapshot %s stays", p.Title(), v.Title())
				}
			}
		}
		again, err := s.Admit(need, rapid.Permutation(bin).Draw(t, "other order"))
		if err != nil || !slices.Equal(purge, again) {
			t.Fatalf("another order of the same bin gives %v, %v, was %v", again, err, purge)
		}
	})
}

func TestRefusalsNameNoThinPoolWhereThereIsNone(t *testing.T) {
	_, err := Space{Name: "the file system of /d", Free: 1 << 20}.Admit(2<<20, nil)
	if err == nil || strings.Contains(err.Error(), "overcommit") || !strings.Contains(err.Error(), "make room there") {
		t.Errorf("got %v", err)
	}
	_, err = Space{Name: "the file system of /d", Free: 3 << 20, Spare: 2 << 20}.Admit(2<<20, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "the file system of /d has room for 1MiB, not for 2MiB, beside the 2MiB that stay free") {
		t.Errorf("got %v", err)
	}
}

func TestRefusedSpaceGivesNothing(t *testing.T) {
	s := Space{Name: "thin pool vg0/p", Size: gib, Ratio: 1, Refuse: "it is 96% full"}
	if _, err := s.Admit(0, nil); !errdefs.IsResourceExhausted(err) || err.Error() != "thin pool vg0/p takes no more: it is 96% full" {
		t.Error(err)
	}
	s = Space{Name: "thin pool vg0/p", Size: gib, Growth: gib, Ratio: 1, Spare: gib / 2, Promised: gib}
	_, err := s.Admit(gib, []spec.Volume{{Size: 1}})
	const want = "thin pool vg0/p has room for 512MiB, not for 1GiB: 1GiB of at most 1.5GiB are promised, also after all of the recycle bin would be purged: " +
		"ask for less, remove volumes, add a disk, or raise overcommit (docker mos volume pool)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestExpired(t *testing.T) {
	bin := []spec.Volume{{Name: "a", Since: day(0)}, {Name: "b", Since: day(1)}, {Name: "c", Since: day(2)}}
	var names []string
	for _, v := range Expired(bin, 24*time.Hour, day(2)) {
		names = append(names, v.Name)
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Error(names)
	}
}

func TestLevels(t *testing.T) {
	l := Levels{Extend: 0.7, Warn: 0.8, Refuse: 0.95, Pause: 0.97}
	for _, tt := range []struct {
		l      Levels
		data   float64
		meta   float64
		want   Level
		resume bool
	}{
		{l, 0, 0, OK, true},
		{l, 0.799, 0, OK, true},
		{l, 0.8, 0, Warn, true},
		{l, 0, 0.8, Warn, true}, // the fuller of both
		{l, 0.949, 0.1, Warn, true},
		{l, 0.95, 0, Refuse, false},
		{l, 0.1, 0.96, Refuse, false},
		{l, 0.97, 0, Pause, false},
		{l, 1, 1, Pause, false},
		{Levels{Warn: 0.8, Refuse: 0.95}, 1, 0, Refuse, true}, // nothing is paused there
		{Levels{Warn: 0.9, Refuse: 0.9, Pause: 0.9}, 0.9, 0, Pause, false},
	} {
		f := Fullness{tt.data, tt.meta}
		if got, resume := tt.l.At(f), tt.l.Resume(f); got != tt.want || resume != tt.resume {
			t.Errorf("%+v at %+v: got %s, resume %v", f, tt.l, got, resume)
		}
	}
}

func TestExtend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Levels{Extend: rapid.SampledFrom([]float64{0, 0.7}).Draw(t, "extend"), Warn: 0.8, Refuse: 0.95}
		f := Fullness{rapid.Float64Range(0, 1).Draw(t, "data fill"), rapid.Float64Range(0, 1).Draw(t, "meta fill")}
		data, meta := rapid.Uint64Range(0, 1<<50).Draw(t, "data"), rapid.Uint64Range(0, mostMeta).Draw(t, "meta")
		free := rapid.Uint64Range(0, 1<<50).Draw(t, "free")
		moreData, moreMeta := l.ExtendBy(f, data, meta, free)
		if moreData+2*moreMeta > free {
			t.Fatalf("%d and %d with its spare are more than the %d that are free", moreData, moreMeta, free)
		}
		if meta+moreMeta > mostMeta {
			t.Fatalf("metadata of %d are more than LVM takes", meta+moreMeta)
		}
		due := func(fill float64) bool { return l.Extend > 0 && fill >= l.Extend }
		if moreData > 0 && !due(f.Data) || moreMeta > 0 && !due(f.Meta) {
			t.Fatalf("extended by %d and %d at %+v", moreData, moreMeta, f)
		}
		if due(f.Data) && free >= 1<<45 && moreData == 0 && data > 0 {
			t.Fatal("a pool that is due is not extended")
		}
	})
}

// TestPoolGeometry: a pool fits into its share, its metadata are enough for its
// chunks and for thousands of volumes, and LVM takes the numbers.
func TestPoolGeometry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		free, share := rapid.Uint64Range(0, 1<<52).Draw(t, "free"), rapid.Float64Range(0.01, 0.95).Draw(t, "share")
		g := PoolGeometry(free, share)
		if g.Data == 0 {
			if float64(free)*share > 128*mib {
				t.Fatalf("no pool in %v", spec.Bytes(float64(free)*share))
			}
			return
		}
		if float64(g.Data+2*g.Meta) > float64(free)*share {
			t.Fatalf("%+v does not fit into %v of %v", g, share, spec.Bytes(free))
		}
		if g.Data%(4*mib) != 0 || g.Meta%(4*mib) != 0 || g.Meta > mostMeta || g.Meta < 2*mib {
			t.Fatalf("%+v is nothing that LVM takes as it is", g)
		}
		if g.Chunk < 64<<10 || g.Chunk > 1<<30 || g.Chunk%(64<<10) != 0 || g.Data/g.Chunk > 1<<24 {
			t.Fatalf("%+v has odd chunks", g)
		}
		// A mapping takes 16 bytes in leaves that are half full at worst, and the
		// reference counts a byte; a volume has one block of 4 KiB at least.
		need := g.Data / g.Chunk * 33
		if g.Data >= 2<<30 {
			need += 3000 * 4096
		}
		if g.Meta < need {
			t.Fatalf("metadata of %v for %d chunks, want %v", spec.Bytes(g.Meta), g.Data/g.Chunk, spec.Bytes(need))
		}
	})
	if g := PoolGeometry(20*gib, 0.8); g.Chunk != 64<<10 || g.Data < 15*gib {
		t.Errorf("a pool in 20 GiB is %+v", g)
	}
}
