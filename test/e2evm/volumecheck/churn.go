package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/api"
)

const mib = 1 << 20

// churn makes random calls until it is ended, and prints before each what it
// begins and after it what was done: a journal for judge.
//
//	begin OP VOLUME ARG...    done OP VOLUME ARG...    fail OP VOLUME WHY
func churn(ctx context.Context, o options, _ []string) error {
	ctx, cancel := context.WithTimeout(ctx, o.during)
	defer cancel()
	var wg sync.WaitGroup
	for n := range o.workers {
		w := &worker{
			prefix: fmt.Sprintf("%s%d-%d-", o.prefix, o.seed, n), rng: rand.New(rand.NewPCG(o.seed, uint64(n))),
			plugin: newPlugin(), admin: admin(),
		}
		wg.Go(func() { w.run(ctx) })
	}
	if o.kill != "" {
		wg.Go(func() { killer(ctx, o) })
	}
	wg.Wait()
	return nil
}

var printing sync.Mutex

// journal prints a line in one write.
func journal(words ...any) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(words...)
}

// seedOf is the seed of a volume's blocks.
func seedOf(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return h.Sum64()
}

// vol is a volume as its worker knows it.
type vol struct {
	name, data string // data is the volume whose blocks it has
	blocks     uint64
	size       uint64 // MiB
	trashed    bool
	snaps      []string
}

type worker struct {
	prefix string
	rng    *rand.Rand
	plugin *plugin
	admin  *api.Client
	vols   []*vol
	n      int
}

// run makes calls until ctx ends. The last one may come to its end: the daemon
// would go on with it behind the judge's back.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		w.one(call)
		cancel()
	}
}

// do makes a call with its lines. It says whether the call was answered well; if
// not, what became of the volume is not known, and the worker leaves it alone.
func (w *worker) do(v *vol, f func() error, op string, args ...any) bool {
	line := append([]any{op, v.name}, args...)
	journal(append([]any{"begin"}, line...)...)
	if err := f(); err != nil {
		journal("fail", op, v.name, strconv.Quote(err.Error()))
		w.vols = slices.DeleteFunc(w.vols, func(o *vol) bool { return o == v })
		time.Sleep(200 * time.Millisecond)
		return false
	}
	journal(append([]any{"done"}, line...)...)
	return true
}

func (w *worker) one(ctx context.Context) {
	if len(w.vols) < 2 || w.rng.IntN(6) == 0 && len(w.vols) < 8 {
		w.create(ctx)
		return
	}
	v := w.vols[w.rng.IntN(len(w.vols))]
	if v.trashed {
		w.binned(ctx, v)
		return
	}
	thin := strings.Contains(v.name, "thin")
	switch n := w.rng.IntN(10); {
	case n < 4:
		w.write(ctx, v, nil)
	case n < 6:
		w.grow(ctx, v)
	case n < 7 && thin:
		w.snapshot(ctx, v)
	case n < 8 && thin:
		w.clone(ctx, v)
	case len(w.vols) > 3:
		v.trashed = w.do(v, func() error { _, err := w.plugin.call(ctx, "Remove", map[string]string{"Name": v.name}); return err }, "remove")
	}
}

func (w *worker) create(ctx context.Context) {
	w.n++
	typ, fs, size := "thin", "ext4", uint64(32)
	switch w.rng.IntN(4) {
	case 0:
		typ = "linear"
	case 1:
		typ = "loop"
	}
	if w.rng.IntN(4) == 0 {
		fs, size = "xfs", 300
	}
	v := &vol{name: fmt.Sprintf("%s%d-%s-%s", w.prefix, w.n, typ, fs), size: size}
	v.data = v.name
	opts := map[string]string{"size": fmt.Sprintf("%dm", size), "type": typ, "fs": fs}
	if w.do(v, func() error {
		_, err := w.plugin.call(ctx, "Create", map[string]any{"Name": v.name, "Opts": opts})
		return err
	}, "create", size) {
		w.vols = append(w.vols, v)
	}
}

// write mounts a volume and writes some blocks to it, with during beside that.
func (w *worker) write(ctx context.Context, v *vol, during func()) {
	id := map[string]string{"Name": v.name, "ID": fmt.Sprintf("%s%d", w.prefix, w.rng.Uint32())}
	var at string
	if !w.do(v, func() error {
		a, err := w.plugin.call(ctx, "Mount", id)
		at = a.Mountpoint
		return err
	}, "mount") {
		return
	}
	var wg sync.WaitGroup
	if during != nil {
		wg.Go(during)
	}
	more := uint64(8 + w.rng.IntN(24))
	if v.blocks+more > v.size*mib*6/10/blockSize {
		more = 0
	}
	err := writeBlocks(ctx, options{file: filepath.Join(at, "file"), seed: seedOf(v.data), count: v.blocks + more, sync: 4, resume: true}, func(n uint64) {
		if n >= v.blocks {
			v.blocks = n
			journal("done sync", v.name, n)
		}
	})
	wg.Wait()
	if err != nil && ctx.Err() == nil {
		journal("broken", v.name, strconv.Quote(err.Error()))
	}
	w.do(v, func() error { _, err := w.plugin.call(ctx, "Unmount", id); return err }, "unmount")
}

// grow grows a volume, half of the times while it is written to.
func (w *worker) grow(ctx context.Context, v *vol) {
	size := v.size + 16
	f := func() {
		if w.do(v, func() error {
			_, err := w.admin.Resize(ctx, api.ResizeRequest{Volume: v.name, Size: fmt.Sprintf("%dm", size)})
			return err
		}, "resize", size) {
			v.size = size
		}
	}
	if w.rng.IntN(2) == 0 {
		w.write(ctx, v, f)
		return
	}
	f()
}

func (w *worker) snapshot(ctx context.Context, v *vol) {
	name := fmt.Sprintf("s%d", len(v.snaps))
	if len(v.snaps) < 3 && w.do(v, func() error {
		_, err := w.admin.Snapshot(ctx, api.SnapshotRequest{Volume: v.name, Name: name})
		return err
	}, "snapshot", name, v.blocks) {
		v.snaps = append(v.snaps, name)
	}
}

func (w *worker) clone(ctx context.Context, v *vol) {
	w.n++
	c := &vol{name: fmt.Sprintf("%s%d-thin-clone", w.prefix, w.n), data: v.data, blocks: v.blocks, size: v.size}
	if w.do(c, func() error {
		_, err := w.plugin.call(ctx, "Create", map[string]any{"Name": c.name, "Opts": map[string]string{"from": v.name}})
		return err
	}, "clone", c.size, c.data, c.blocks) {
		w.vols = append(w.vols, c)
	}
}

// binned takes a volume out of the recycle bin, by one of the two doors.
func (w *worker) binned(ctx context.Context, v *vol) {
	if w.rng.IntN(2) == 0 {
		v.trashed = !w.do(v, func() error { _, err := w.admin.Restore(ctx, api.RestoreRequest{Volume: v.name}); return err }, "restore")
		return
	}
	w.do(v, func() error {
		_, err := w.admin.Purge(ctx, api.PurgeRequest{Volumes: []string{v.name}}, nil)
		return err
	}, "purge")
	w.vols = slices.DeleteFunc(w.vols, func(o *vol) bool { return o == v })
}

// killer kills one process of the named programs now and then.
func killer(ctx context.Context, o options) {
	names := strings.Split(o.kill, ",")
	rng := rand.New(rand.NewPCG(o.seed, 99))
	for ctx.Err() == nil {
		time.Sleep(time.Duration(rng.Int64N(int64(max(o.pause, 100*time.Millisecond)))))
		name := names[rng.IntN(len(names))]
		comms, _ := filepath.Glob("/proc/[0-9]*/comm")
		for _, i := range rng.Perm(len(comms)) {
			b, err := os.ReadFile(comms[i])
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(comms[i])))
			if err != nil || strings.TrimSpace(string(b)) != name || pid <= 1 {
				continue
			}
			args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			verb, _, _ := strings.Cut(strings.TrimPrefix(string(args), name+"\x00"), "\x00")
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				journal("killed", name, verb)
			}
			break
		}
	}
}
