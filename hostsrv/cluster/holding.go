package cluster

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/setmgr/docker"
)

const (
	holdingEvery = 5 * time.Second
	holdingLimit = 30 * time.Second // of many images, at the first look
	imagesEvery  = 30 * time.Second // for each telling of images, at most
)

// Holds asks what the host has of images and ports. It is not called at once.
type Holds func(ctx context.Context) (link.Holding, error)

// HoldsOf asks an Engine: for its list of images and of containers each time, for the layers of
// an image and for a container once. An image about which it fails is told by its names, and asked
// about again when the list is another.
func HoldsOf(open func() (*docker.Engine, error), log *slog.Logger) Holds {
	asked := map[string]layers{} // by the image's id
	var published docker.Published
	var last []docker.Image
	return func(ctx context.Context) (h link.Holding, err error) {
		e, err := open()
		if err != nil {
			return h, err
		}
		if h.Ports, err = published.Ports(ctx, e); err != nil {
			return h, err
		}
		h.Ports = h.Ports[:min(len(h.Ports), link.MostPorts)]
		images, err := e.Named(ctx)
		if err != nil {
			return h, err
		}
		changed := !reflect.DeepEqual(images, last)
		now, room, tags := map[string]layers{}, link.MostLayers, link.MostTags
		for _, i := range images[:min(len(images), link.MostImages)] {
			is, known := asked[i.ID]
			if !known || is.failed && changed {
				if is, err = layersOf(ctx, e, i); err != nil {
					log.DebugContext(ctx, "the layers of an image are not known", "image", i.Names[0], "err", err)
				}
				if errdefs.IsUnavailable(err) || ctx.Err() != nil {
					return h, err
				}
			}
			now[i.ID], asked[i.ID] = is, is // also where the rest is not known in time
			if room -= len(is.all); room < 0 {
				break
			}
			names := slices.DeleteFunc(slices.Clone(i.Names), func(n string) bool { return len(n) > link.MostName })
			names = names[:min(len(names), tags)]
			if tags -= len(names); len(names) > 0 {
				h.Images = append(h.Images, link.Image{Names: names, Layers: is.all})
			}
		}
		asked, last = now, images
		return h, ctx.Err() // at whose end the rest was not asked for
	}
}

// layers are of an image, which may have none.
type layers struct {
	all    []link.Layer
	failed bool // the Engine could not say
}

func layersOf(ctx context.Context, e *docker.Engine, i docker.Image) (is layers, err error) {
	told, err := e.Layers(ctx, i)
	is.failed = err != nil
	for _, l := range told {
		is.all = append(is.all, link.Layer{ID: l.ID, Bytes: l.Bytes})
	}
	return is, err
}

// held is what the host has of images and ports, and what a leader knows of it.
type held struct {
	is     link.Holding
	since  time.Time // of its images
	turn   int       // how often it became another
	images int       // the turn since which its images are these
	said   int       // the turn of the last report
	heard  int       // the turn that the leader has, 0 if none
	with   bool      // the last report had it
	epoch  int64
}

// Holds has reports say what the host has; without it they do not. It is called before [Host.Run].
func (h *Host) Holds(f Holds) { h.holds = f }

// holdAlways keeps what the host has for the next report, which waits for nothing.
func (h *Host) holdAlways(ctx context.Context) {
	tick := time.NewTicker(holdingEvery)
	defer tick.Stop()
	for h.holds != nil {
		if h.isLinked() {
			h.lookHeld(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *Host) lookHeld(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, holdingLimit)
	defer cancel()
	now, err := h.holds(ctx)
	if err != nil {
		h.log.DebugContext(ctx, "what the host has of images and ports is not known", "err", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held.take(now)
}

// take takes over what the host has now. Images wait: of another one nothing hangs but how well
// sets are placed.
func (h *held) take(now link.Holding) {
	others := !reflect.DeepEqual(now.Images, h.is.Images) && time.Since(h.since) >= imagesEvery
	if h.turn > 0 && !others && slices.Equal(now.Ports, h.is.Ports) {
		return
	}
	h.turn++
	if others || h.images == 0 {
		h.is.Images, h.since, h.images = now.Images, time.Now(), h.turn
	}
	h.is.Ports = now.Ports
}

// report is what the next report says, nil if the leader knows it.
func (h *held) report() *link.Holding {
	if h.with = h.turn != h.heard; !h.with {
		return nil
	}
	h.said = h.turn
	is := h.is // whose parts are replaced as a whole
	if h.heard >= h.images {
		is.Images, is.Kept = nil, true
	}
	return &is
}

// linked notes what the leader of a lease has, epoch 0 if there is none.
func (h *held) linked(epoch int64) {
	switch {
	case epoch != 0 && h.with:
		h.heard = h.said
	case epoch != h.epoch: // it may be the same process, which led anew
		h.heard = 0
	}
	h.epoch = epoch
}
