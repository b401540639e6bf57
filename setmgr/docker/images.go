package docker

import (
	"context"

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
