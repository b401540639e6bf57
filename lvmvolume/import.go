package lvmvolume

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// errStops ends imports when the daemon is to stop.
var errStops = fault.Unavailable("mos-lvm stops: nothing is left of the import, begin it again")

// sender is the stream of an import. One that stands still is read no further, and
// neither is one whose import was ended.
type sender struct {
	r     io.Reader
	rc    *http.ResponseController
	limit time.Duration // that it may stand still

	mu  sync.Mutex // guards all below
	err error      // why it is read no further
}

func (s *sender) Read(b []byte) (int, error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(b)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = s.end(fault.Unavailable("nothing came for %v: nothing is left of the import, begin it again when its sender is well", s.limit))
	case errors.Is(err, io.EOF):
		_ = s.rc.SetReadDeadline(time.Time{}) // who sent it may be silent while we work
	}
	return n, err
}

// ready gives the sender its while anew.
func (s *sender) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		_ = s.rc.SetReadDeadline(time.Now().Add(s.limit)) // a recorder has none
	}
	return s.err
}

// end ends a read under way and all after it. It returns the first reason for that.
func (s *sender) end(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = why
		_ = s.rc.SetReadDeadline(time.Unix(1, 0))
	}
	return s.err
}

func (d *Driver) serveImport(w http.ResponseWriter, r *http.Request) {
	out := newLines(w)
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // progress while the body comes
	in := &sender{r: r.Body, rc: rc, limit: d.stall}
	// The request's own context ends at each failed read, which tells more itself.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer cancel(nil)
	d.imports.Store(in, cancel)
	defer d.imports.Delete(in)
	defer context.AfterFunc(ctx, func() { _ = in.end(context.Cause(ctx)) })()
	// A caller whose connection ends while it sends does not hear why.
	defer func() { _, _ = io.Copy(io.Discard, in) }()
	q := r.URL.Query()
	req := spec.Request{Name: q.Get("name")}
	if err := json.Unmarshal([]byte(q.Get("options")), &req.Options); err != nil {
		out.end(api.Plan{}, fault.Invalid("request: options: %w", err))
		return
	}
	dry := q.Get("dryRun") == "true"
	p, v, err := d.load(ctx, req, in, dry, out.progress)
	if err != nil {
		out.end(api.Plan{}, err)
		return
	}
	out.end(d.done(apiPlan(p), v.Name, dry), nil)
}

// cutImports ends the imports that are under way: their senders may take hours.
func (d *Driver) cutImports() {
	d.imports.Range(func(_, cancel any) bool {
		if cancel, ok := cancel.(context.CancelCauseFunc); ok {
			cancel(errStops)
		}
		return true
	})
}

// lockToImport locks the name of a volume that is to come from a stream. Nobody waits
// for a sender: neither those who want the name meanwhile, nor an import of a name
// that somebody is at.
func (d *Driver) lockToImport(name string) (unlock func(), err error) {
	if err := d.streaming(name); err != nil {
		return nil, err
	}
	free, ok := d.names.TryLock(name)
	if !ok {
		return nil, fault.Conflict("volume %s is being made or changed: try again in a moment", name)
	}
	d.importing.Store(name, true)
	return func() {
		d.importing.Delete(name)
		free()
	}, nil
}

// load makes a volume of a stream.
func (d *Driver) load(ctx context.Context, r spec.Request, in io.Reader, dry bool, said func(string, uint64, uint64)) (plan.Plan, spec.Volume, error) {
	var head bytes.Buffer
	h, err := stream.Info(io.TeeReader(in, &head))
	if err != nil {
		return nil, spec.Volume{}, err
	}
	given := spec.Given(r)
	if r, err = adopt(r, h); err != nil {
		return nil, spec.Volume{}, err
	}
	if _, ok := d.idx.named(r.Name); ok {
		return nil, spec.Volume{}, fault.Exists("there is a volume %s already: import under another name", r.Name)
	}
	if err := d.shadowed(ctx, r.Name); err != nil {
		return nil, spec.Volume{}, err
	}
	d.oddName(ctx, r.Name)
	unlock, err := d.lockToImport(r.Name)
	if err != nil {
		return nil, spec.Volume{}, err
	}
	defer unlock()
	if _, ok := d.idx.named(r.Name); ok {
		return nil, spec.Volume{}, fault.Exists("there is a volume %s already: import under another name", r.Name)
	}
	v, _, at, err := d.wish(r)
	if err != nil {
		return nil, v, err
	}
	v.Chown = given
	if v.Size < uint64(h.Size) {
		return nil, v, fault.Invalid("size %s is smaller than the %s of the volume in the stream", spec.Bytes(v.Size), spec.Bytes(h.Size))
	}
	purge, err := d.admit(ctx, at, v, v.Size, dry)
	if err != nil {
		return nil, v, err
	}
	p := append(plan.Purge(purge, d.useAtWorst, time.Now(), "its space is needed"), plan.Import(v, v.Created)...)
	if dry {
		return p, v, nil
	}
	return p, v, d.bear(ctx, v, p, purge, func(ctx context.Context) error {
		run := newRunner(d)
		defer run.close()
		run.fill = func(ctx context.Context, dev string) error {
			return fill(ctx, v, dev, io.MultiReader(&head, in), said)
		}
		return run.run(ctx, p)
	})
}

// adopt gives a request what the stream says and the user did not.
func adopt(r spec.Request, h stream.Header) (spec.Request, error) {
	if fs, given := r.Options["fs"]; given && fs != string(h.FS) {
		return r, fault.Invalid("option fs=%.20s: the stream holds %s, and an import keeps it", fs, h.FS)
	}
	opts := map[string]string{"size": strconv.FormatInt(h.Size, 10)}
	for _, key := range []string{"uid", "gid", "mode", "mountopts", "iops", "bps"} {
		// What gives power over the host is for the user to say, not for a stream.
		if v, ok := h.Options[key]; ok && (key != "mountopts" || !grants(v)) {
			opts[key] = v
		}
	}
	maps.Copy(opts, r.Options)
	opts["fs"] = string(h.FS)
	if r.Name == "" {
		r.Name = h.Volume
	}
	r.Options = opts
	return r, nil
}

// grants says whether mount options allow devices or other users' rights.
func grants(opts string) bool {
	return slices.ContainsFunc(strings.Split(opts, ","), func(o string) bool { return o == "dev" || o == "suid" })
}

// fill writes the stream to the device and looks whether a file system came of it.
func fill(ctx context.Context, v spec.Volume, dev string, in io.Reader, said func(string, uint64, uint64)) error {
	f, err := os.OpenFile(dev, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		return err
	}
	open := func(stream.Header) (stream.Sink, error) {
		return stream.NewFileSink(f, v.Type == spec.Thin || v.Type == spec.Loop), nil
	}
	last := time.Now()
	_, err = stream.Read(ctx, in, open, func(p stream.Progress) {
		if time.Since(last) > 500*time.Millisecond {
			last = time.Now()
			said(v.Name, uint64(p.Position), uint64(p.Size))
		}
	})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	got, err := filesystem.Probe(dev)
	if err != nil {
		return err
	}
	if string(got.Type) != string(v.FS) {
		return fault.Invalid("the stream holds %q, not the %s that it says", got.Type, v.FS)
	}
	return nil
}
