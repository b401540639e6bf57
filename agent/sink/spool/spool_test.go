package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func open(tb testing.TB, dir string, size int64) *Spool {
	tb.Helper()
	s, faults, err := Open(dir, size, time.Hour)
	if err != nil || len(faults) > 0 {
		tb.Fatal(err, faults)
	}
	return s
}

var now = time.Unix(1_700_000_000, 123)

func add(tb testing.TB, s *Spool, data string) {
	tb.Helper()
	if _, err := s.Append(now, []byte(data)); err != nil {
		tb.Fatal(err)
	}
}

// rest takes all that waits.
func rest(s *Spool) (all []string, dropped int) {
	for {
		_, data, n, ok := s.Next(now)
		dropped += n
		if !ok {
			return all, dropped
		}
		all = append(all, string(data))
		s.Done()
	}
}

func TestRecordsComeBackInOrderOverRestarts(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	for i := range 5 {
		add(t, s, fmt.Sprint("r", i))
	}
	at, data, _, ok := s.Next(now)
	if !ok || string(data) != "r0" || !at.Equal(now) {
		t.Fatalf("got %q of %v, %v", data, at, ok)
	}
	s.Done()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 1<<20)
	add(t, s, "r5")
	if got, _ := rest(s); !slices.Equal(got, []string{"r1", "r2", "r3", "r4", "r5"}) {
		t.Errorf("got %q", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 || s.Size() != 0 || s.Len() != 0 {
		t.Errorf("left: %v, %d bytes, %d records", left, s.Size(), s.Len())
	}
}

func TestTheOldestGoWhenThereIsNoRoom(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, MinBytes)
	defer s.Close()
	dropped := 0
	for i := range 300 {
		n, err := s.Append(now, fmt.Appendf(nil, "%03d%s", i, strings.Repeat("x", 1000)))
		if err != nil {
			t.Fatal(err)
		}
		dropped += n
		if s.Size() > MinBytes {
			t.Fatalf("%d bytes", s.Size())
		}
	}
	got, _ := rest(s)
	if len(got)+dropped != 300 || !strings.HasPrefix(got[0], fmt.Sprintf("%03d", dropped)) || !strings.HasPrefix(got[len(got)-1], "299") || dropped < 200 {
		t.Errorf("%d left from %.3s to %.3s, %d dropped", len(got), got[0], got[len(got)-1], dropped)
	}
	if _, err := s.Append(now, make([]byte, MinBytes)); err == nil {
		t.Error("a record above the bound was taken")
	}
}

func TestOldRecordsAreDropped(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	defer s.Close()
	add(t, s, "old")
	if _, err := s.Append(now.Add(2*time.Hour), []byte("young")); err != nil {
		t.Fatal(err)
	}
	_, data, dropped, ok := s.Next(now.Add(2 * time.Hour))
	if !ok || string(data) != "young" || dropped != 1 {
		t.Errorf("got %q, dropped %d", data, dropped)
	}
}

func TestBrokenFilesAreNamedAndTheRestIsKept(t *testing.T) {
	for name, hurt := range map[string]func(b []byte) []byte{
		"cut off":         func(b []byte) []byte { return b[:len(b)-3] },
		"changed":         func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"length is wrong": func(b []byte) []byte { b[len(b)-18] = 0xff; return b },
		"no file of ours": func([]byte) []byte { return []byte("something else, and longer than a head") },
		"empty":           func([]byte) []byte { return nil },
		"read too far":    func(b []byte) []byte { b[12] = 0xff; return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, 1<<20)
			add(t, s, "one")
			add(t, s, "2!")
			s.Close()
			files, _ := filepath.Glob(dir + "/*")
			b, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(files[0], hurt(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s, faults, err := Open(dir, 1<<20, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if want := name != "read too far"; (len(faults) > 0) != want || want && !strings.Contains(faults[0].Error(), files[0]) {
				t.Errorf("faults %v", faults)
			}
			add(t, s, "three")
			got, _ := rest(s)
			if got[len(got)-1] != "three" || strings.Contains(name, "c") && strings.Contains(name, "d") && !slices.Equal(got, []string{"one", "three"}) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestAFileThatChangesUnderItIsDropped(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	defer s.Close()
	add(t, s, "one")
	add(t, s, "two")
	files, _ := filepath.Glob(dir + "/*")
	if err := os.Truncate(files[0], 30); err != nil {
		t.Fatal(err)
	}
	if got, dropped := rest(s); len(got) != 0 || dropped != 2 {
		t.Errorf("got %q, dropped %d", got, dropped)
	}
}

// Whatever is done in whatever order, what comes out is what went in, in order,
// but for what there was no room for.
func TestAnySequence(t *testing.T) {
	top, rounds := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		rounds++
		dir := filepath.Join(top, strconv.Itoa(rounds))
		s, n := open(t, dir, MinBytes), 0
		var want []string
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0, 1, 2:
				data := strconv.Itoa(n) + strings.Repeat("y", rapid.IntRange(0, 20_000).Draw(rt, "size"))
				n++
				dropped, err := s.Append(now, []byte(data))
				if err != nil {
					rt.Fatal(err)
				}
				want = append(want[dropped:], data)
			case 3, 4:
				_, data, _, ok := s.Next(now)
				if ok != (len(want) > 0) || ok && string(data) != want[0] {
					rt.Fatalf("got %.9q, want one of %d", data, len(want))
				}
				if ok {
					want = want[1:]
				}
				s.Done()
			case 5:
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = open(t, dir, MinBytes)
			}
			if s.Len() != len(want) || s.Size() > MinBytes {
				rt.Fatalf("%d records, want %d; %d bytes", s.Len(), len(want), s.Size())
			}
		}
		if got, _ := rest(s); !slices.Equal(got, want) {
			rt.Fatalf("%d left, want %d", len(got), len(want))
		}
		s.Close()
	})
}
