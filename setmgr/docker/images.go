package docker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/render"
)

// Images tells how many images the Engine keeps, and the space of their layers, each
// counted once. Engines before 23.0 would walk all containers and volumes for that and
// are not asked: it is an errdefs.ErrNotImplemented.
func (e *Engine) Images(ctx context.Context) (n int, size uint64, err error) {
	p, err := e.c.Ping(ctx, client.PingOptions{})
	if err != nil {
		return 0, 0, e.told(ctx, err)
	}
	if f := (render.Facts{API: p.APIVersion}); !f.AtLeast("1.42") {
		return 0, 0, fault.Later("an Engine of API %s tells that of all containers and volumes only, and walks them for it", p.APIVersion)
	}
	du, err := e.c.DiskUsage(ctx, client.DiskUsageOptions{Images: true})
	if err != nil {
		return 0, 0, e.told(ctx, err)
	}
	return int(du.Images.TotalCount), uint64(max(0, du.Images.TotalSize)), nil
}

// Image is one that the Engine keeps.
type Image struct {
	ID    string
	Names []string // with tag, or with digest
	Size  int64
}

// Layer is a part of an image. Its ID stands for it and all below it.
type Layer struct {
	ID    string
	Bytes int64
}

// Named are the images that have a name, the largest first.
func (e *Engine) Named(ctx context.Context) ([]Image, error) {
	out, err := e.c.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return nil, e.told(ctx, err)
	}
	var all []Image
	for _, i := range out.Items {
		names := slices.DeleteFunc(slices.Concat(i.RepoTags, i.RepoDigests), func(n string) bool { return strings.Contains(n, "<none>") })
		if slices.Sort(names); len(names) > 0 {
			all = append(all, Image{i.ID, names, i.Size})
		}
	}
	slices.SortFunc(all, func(a, b Image) int { return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

// Layers are those of an image, from the lowest. The Engine tells sizes by the steps of a build:
// those that have one are taken for the uppermost layers, and the lowest has the rest.
func (e *Engine) Layers(ctx context.Context, i Image) ([]Layer, error) {
	is, err := e.c.ImageInspect(ctx, i.ID)
	if err != nil {
		return nil, e.told(ctx, err)
	}
	history, err := e.c.ImageHistory(ctx, i.ID)
	if err != nil {
		return nil, e.told(ctx, err)
	}
	layers := make([]Layer, len(is.RootFS.Layers))
	chain := ""
	for n, diff := range is.RootFS.Layers {
		if chain == "" {
			chain = diff
		} else { // as the image specification has it
			chain = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(chain+" "+diff)))
		}
		layers[n].ID = chain
	}
	left, n := i.Size, len(layers)
	for _, step := range history.Items { // from the uppermost
		if step.Size > 0 && n > 0 {
			n--
			layers[n].Bytes = step.Size
			left -= step.Size
		}
	}
	if len(layers) > 0 {
		layers[0].Bytes += max(left, 0)
	}
	return layers, nil
}
