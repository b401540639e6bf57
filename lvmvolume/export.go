package lvmvolume

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// source is a device to export, and what gives it back.
type source struct {
	v      spec.Volume
	device string
	done   []func()
}

func (s *source) release() {
	for _, undo := range slices.Backward(s.done) {
		undo()
	}
}

// open prepares an export: of a snapshot as it is, of a volume through a
// snapshot of this moment, or, where there are none, of a volume that nobody uses.
func (d *Driver) openSource(ctx context.Context, ref string) (s *source, err error) {
	e, err := d.idx.find(ref, d.isSource)
	if err != nil {
		return nil, err
	}
	s = &source{v: e.v}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	at, err := d.idx.placeOf(e.v)
	if err != nil {
		return s, err
	}
	switch {
	case isSnapshot(e.v):
	case at.snapshots(e.v.Type) == nil:
		name := exportPrefix + string(newID())
		d.exporting.Store(name, true)
		s.done = append(s.done, func() { d.exporting.Delete(name) })
		_, snap, err := d.takeSnapshot(ctx, e.v.Name, name, false)
		if err != nil {
			return s, err
		}
		s.v = snap
		s.done = append(s.done, func() { d.dropExport(ctx, snap) })
	default:
		if err := d.streaming(e.v.Name); err != nil {
			return s, err
		}
		unlock, err := d.lock(ctx, e.v.Name)
		if err != nil {
			return s, err
		}
		d.exporting.Store(e.v.Name, true)
		s.done = append(s.done, unlock, func() { d.exporting.Delete(e.v.Name) })
		if err := d.quiet(ctx, e.v, at.snapshots(e.v.Type)); err != nil {
			return s, err
		}
	}
	r := newRunner(d)
	s.done = append(s.done, r.close)
	s.device, err = r.hold(ctx, at, s.v)
	return s, err
}

// exportPrefix begins the names of the snapshots that exports take. One whose
// export is over, or was cut off, is removed.
const exportPrefix = "export-"

func isExport(v spec.Volume) bool { return strings.HasPrefix(v.Snapshot, exportPrefix) }

// dropExport removes the snapshot that an export made for itself.
func (d *Driver) dropExport(ctx context.Context, snap spec.Volume) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	if _, err := d.purge(ctx, []spec.Volume{snap}, "the export is over", false, nil); err != nil {
		d.log.WarnContext(ctx, "snapshot of an export stays", "volume", snap.Title(), "err", err)
	}
}

// quiet sees to it that a volume does not change: nobody has it and it is not mounted.
func (d *Driver) quiet(ctx context.Context, v spec.Volume, why error) error {
	if err := d.free(ctx, v, "exported"); err != nil {
		return fmt.Errorf("%w; it cannot be exported while in use, since %w", err, why)
	}
	if d.idx.starting(v.ID, d.cfg.Linger.Duration) {
		return fault.Conflict("volume %s was just given to a container that starts; it cannot be exported while in use, since %w", v.Name, why)
	}
	if u, err := d.use(v); !u.Mounted {
		return err
	}
	return d.run(ctx, plan.Plan{{Op: plan.Unmount, Volume: v, Cause: "it is to be exported"}})
}

func (d *Driver) serveExport(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	s, err := d.openSource(ctx, r.URL.Query().Get("volume"))
	if err != nil {
		pluginsrv.Refuse(w, err)
		return
	}
	defer s.release()
	f, err := os.Open(s.device)
	if err != nil {
		pluginsrv.Refuse(w, err)
		return
	}
	defer func() { _ = f.Close() }()
	src, err := stream.NewFileSource(f)
	if err != nil {
		pluginsrv.Refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", api.TrailerError+", "+api.TrailerCode)
	start := time.Now()
	sum, err := stream.Write(ctx, &patient{w, http.NewResponseController(w)}, d.headerOf(s.v), src, nil)
	if err != nil {
		_, code := pluginsrv.Class(err)
		w.Header().Set(api.TrailerError, err.Error())
		w.Header().Set(api.TrailerCode, code)
		d.log.WarnContext(ctx, "export broke off", "volume", s.v.Title(), "err", err)
		return
	}
	d.log.InfoContext(ctx, "volume exported", "volume", s.v.Title(), "sha256", sum.Digest.String(), "took", time.Since(start))
}

// stallLimit is how long the other side of an export or import may stand still:
// it must not keep the volume for ever.
const stallLimit = 2 * time.Minute

// patient gives the reader of an export a while for each piece.
type patient struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(stallLimit)) // a recorder has none
	return p.w.Write(b)
}

func (d *Driver) headerOf(v spec.Volume) stream.Header {
	host, _ := os.Hostname() // it is only told
	h := stream.Header{
		Volume: v.Name, FS: stream.FS(v.FS), Size: int64(v.Size), Created: time.Now().UTC(), Host: host,
		Options: map[string]string{
			"uid": strconv.Itoa(v.UID), "gid": strconv.Itoa(v.GID), "mode": fmt.Sprintf("%04o", v.Mode),
		},
	}
	if v.MountOpts != "" {
		h.Options["mountopts"] = v.MountOpts
	}
	if v.IOPS > 0 {
		h.Options["iops"] = strconv.FormatUint(v.IOPS, 10)
	}
	if v.BPS > 0 {
		h.Options["bps"] = strconv.FormatUint(v.BPS, 10)
	}
	if e, ok := d.idx.entry(v.ID); ok && e.usage != nil {
		h.Used = int64(min(e.usage.Used, v.Size))
	}
	return h
}
