package link

import (
	"context"

	"github.com/vishvananda/netlink"
)

// VNetHeader says whether a link is a tap whose user exchanges checksum and
// segmentation offload with the kernel (IFF_VNET_HDR). A missing link gives
// ErrNotFound.
func VNetHeader(ctx context.Context, name string) (bool, error) {
	l, err := byName(ctx, name)
	if err != nil {
		return false, err
	}
	t, ok := l.(*netlink.Tuntap)
	return ok && t.Flags&netlink.TUNTAP_VNET_HDR != 0, nil
}
