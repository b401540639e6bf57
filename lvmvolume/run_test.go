package lvmvolume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// TestRunKeepsHouse: what a cut left is finished, whole volumes are recorded, the
// bin is emptied when its time is over, and all ends with the context.
func TestRunKeepsHouse(t *testing.T) {
	second := config.Duration{Duration: time.Second}
	r := newRig(t, func(c *Config) { c.Interval, c.Trash.Keep = second, second })
	r.make("old", "size", "16m")
	r.remove("old")
	half := r.make("half", "size", "16m")
	r.restart() // before it was recorded
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	r.await(ctx)
	r.make("new", "size", "16m")
	testx.Eventually(t, 20*time.Second, func() error {
		if n := len(r.ours()); n != 2 {
			return fmt.Errorf("there are %d volumes, in the bin are %q", n, r.titles(inTrash))
		}
		for _, e := range r.idx.all(anything) {
			if e.v.State != spec.Ready {
				return fmt.Errorf("%s is recorded as %s", e.v.Name, e.v.State)
			}
		}
		return nil
	})
	if e, ok := r.idx.entry(half.ID); !ok || r.disk.made[half.ID.Label()] != 2 {
		t.Errorf("the volume that was cut off is %+v, formatted %d times", e.v, r.disk.made[half.ID.Label()])
	}
	cancel()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

// TestRunRetriesWhatFailed: a group that is late is found when it comes.
func TestRunRetriesWhatFailed(t *testing.T) {
	r := bareRig(t, func(c *Config) { c.Interval.Duration = time.Hour })
	if err := r.groups.expected.set("late", true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	defer func() { cancel(); <-done }()
	r.await(ctx)
	if r.idx.whole() == nil {
		t.Error("all is known without the group")
	}
	r.makeGroup("late", gib, "/dev/sda")
	testx.Eventually(t, 20*time.Second, r.idx.whole)
	r.Nudge()
	r.Nudge()
}

func TestImportTakesWhatTheStreamSays(t *testing.T) {
	h := stream.Header{
		Volume: "data", FS: "xfs", Size: gib,
		Options: map[string]string{"uid": "5", "mode": "0700", "type": "thin", "vg": "vg9", "from": "x"},
	}
	got, err := adopt(spec.Request{Options: map[string]string{"uid": "7", "type": "linear", "fs": "xfs"}}, h)
	if err != nil {
		t.Fatal(err)
	}
	// Where it was is no matter here.
	want := spec.Request{Name: "data", Options: map[string]string{"size": "1073741824", "uid": "7", "mode": "0700", "type": "linear", "fs": "xfs"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got, err := adopt(spec.Request{Name: "other"}, h); err != nil || got.Name != "other" {
		t.Error(got.Name, err)
	}
	if _, err := adopt(spec.Request{Options: map[string]string{"fs": "ext4"}}, h); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a stream of xfs is imported as ext4: %v", err)
	}
	r := newRig(t)
	if _, v, err := r.load(t.Context(), request("in", "uid", "7"), bytes.NewReader(streamOf(t)), true, nil); err != nil || v.UID != 7 || v.Chown != "u" {
		t.Errorf("with uid=7 it is %+v, %v", v, err)
	}
	r.make("v", "size", "1g", "uid", "5", "iops", "9", "bps", "1m", "mountopts", "noatime")
	out := r.headerOf(r.volume("v"))
	if d := cmp.Diff(map[string]string{"uid": "5", "gid": "0", "mode": "0755", "iops": "9", "bps": "1048576", "mountopts": "noatime"}, out.Options); d != "" || out.Size != gib || out.Volume != "v" {
		t.Errorf("%+v %s", out, d)
	}
}

// TestCallsGiveUpWithTheirContext, and what they made is taken back all the same.
func TestCallsGiveUpWithTheirContext(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.create(ctx, request("v", "size", "1g"), false); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(r.ours()) != 0 || r.titles(anything) != "" {
		t.Errorf("there are %v", r.ours())
	}
	r.make("v", "size", "1g")
}
