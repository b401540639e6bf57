package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

type lease struct {
	Address string
	Until   int64 `json:",omitempty"`
}

var (
	leases = NewBucket[lease]("leases")
	counts = NewBucket[int]("counts")
)

func openT(t *testing.T, path string) *DB {
	t.Helper()
	d, err := Open(path, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// content returns all entries of both buckets.
func content(t *testing.T, d *DB) map[string]any {
	t.Helper()
	got := map[string]any{}
	err := d.View(func(tx *Tx) error {
		ls, err := leases.All(tx)
		for _, e := range ls {
			got[e.Key] = e.Value
		}
		cs, err2 := counts.All(tx)
		for _, e := range cs {
			got[e.Key] = e.Value
		}
		return errors.Join(err, err2)
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestChangesSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "x.db")
	d := openT(t, path)
	err := d.Update(func(tx *Tx) error {
		return errors.Join(leases.Put(tx, "a", lease{"10.0.0.1/24", 7}), counts.Put(tx, "n", 3), counts.Put(tx, "gone", 1), counts.Delete(tx, "gone"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"a": lease{"10.0.0.1/24", 7}, "n": 3}, content(t, openT(t, path))); diff != "" {
		t.Error(diff)
	}
}

func TestFailedUpdateChangesNoBucket(t *testing.T) {
	d := openT(t, filepath.Join(t.TempDir(), "x.db"))
	errNo := errors.New("no")
	for _, update := range []func(func(*Tx) error) error{d.Update, d.Batch} {
		err := update(func(tx *Tx) error {
			return errors.Join(leases.Put(tx, "a", lease{}), counts.Put(tx, "n", 3), errNo)
		})
		if !errors.Is(err, errNo) {
			t.Errorf("got %v", err)
		}
	}
	if got := content(t, d); len(got) != 0 {
		t.Errorf("left %v", got)
	}
}

func TestMissingKeys(t *testing.T) {
	d := openT(t, filepath.Join(t.TempDir(), "x.db"))
	err := d.Update(func(tx *Tx) error {
		if _, err := counts.Get(tx, "n"); !errdefs.IsNotFound(err) {
			t.Errorf("no bucket: got %v", err)
		}
		if err := counts.Delete(tx, "n"); err != nil {
			t.Errorf("delete without bucket: %v", err)
		}
		if err := counts.Put(tx, "", 1); err == nil {
			t.Error("the empty key was taken")
		}
		if err := counts.Put(tx, "m", 1); err != nil {
			t.Error(err)
		}
		if _, err := counts.Get(tx, "n"); !errdefs.IsNotFound(err) {
			t.Errorf("no key: got %v", err)
		}
		if counts.Has(tx, "n") || !counts.Has(tx, "m") {
			t.Error("Has is wrong")
		}
		return counts.Delete(tx, "n")
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestViewChangesNothing(t *testing.T) {
	d := openT(t, filepath.Join(t.TempDir(), "x.db"))
	if err := d.View(func(tx *Tx) error { return counts.Put(tx, "n", 1) }); !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v", err)
	}
}

func TestPrefixIsInOrder(t *testing.T) {
	d := openT(t, filepath.Join(t.TempDir(), "x.db"))
	var got []Entry[int]
	err := d.Update(func(tx *Tx) (err error) {
		for i, k := range []string{"net2/b", "net1/a", "net2/a", "net3/a"} {
			if err := counts.Put(tx, k, i); err != nil {
				return err
			}
		}
		got, err = counts.Prefix(tx, "net2/")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Entry[int]{{"net2/a", 2}, {"net2/b", 0}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestBatchSharesCommits(t *testing.T) {
	d := openT(t, filepath.Join(t.TempDir(), "x.db"))
	const callers = 8
	// All callers queue behind a commit that is under way.
	d.commitMu.Lock()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			if err := d.Batch(func(tx *Tx) error { return counts.Put(tx, strconv.Itoa(i), i) }); err != nil {
				t.Error(err)
			}
		})
	}
	for queued := 0; queued < callers; {
		d.queueMu.Lock()
		queued = len(d.queue)
		d.queueMu.Unlock()
	}
	first := txid(t, d)
	d.commitMu.Unlock()
	wg.Wait()
	if n := txid(t, d) - first; n != 1 {
		t.Errorf("%d calls took %d commits, want 1", callers, n)
	}
	if got := content(t, d); len(got) != callers {
		t.Errorf("got %v", got)
	}
}

// txid returns the number of the last commit.
func txid(t *testing.T, d *DB) int {
	t.Helper()
	var id int
	if err := d.View(func(tx *Tx) error { id = tx.tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestBatchFailureIsOnlyTheCallersOwn(t *testing.T) {
	d := openT(t, filepath.Join(t.TempDir(), "x.db"))
	errNo := errors.New("no")
	var failed, panicked atomic.Int32
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					panicked.Add(1)
				}
			}()
			err := d.Batch(func(tx *Tx) error {
				if err := counts.Put(tx, fmt.Sprintf("%02d", i), i); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return errNo
				case 2:
					panic("bang")
				}
				return nil
			})
			if errors.Is(err, errNo) {
				failed.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if failed.Load() != 20 || panicked.Load() != 20 || len(content(t, d)) != 20 {
		t.Errorf("%d failed, %d panicked, %d stored; want 20 each", failed.Load(), panicked.Load(), len(content(t, d)))
	}
}

func BenchmarkUpdate8(b *testing.B) { bench8(b, (*DB).Update) }
func BenchmarkBatch8(b *testing.B)  { bench8(b, (*DB).Batch) }

func bench8(b *testing.B, update func(*DB, func(*Tx) error) error) {
	b.Helper()
	d, err := Open(filepath.Join(b.TempDir(), "x.db"), 1, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	for b.Loop() {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if err := update(d, func(tx *Tx) error { return counts.Put(tx, strconv.Itoa(i), i) }); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
}
