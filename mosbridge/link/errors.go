package link

import (
	"errors"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/mosdocker/mosdocker/internal/fault"
)

func missing(name string) error { return fault.NotFound("link %s is not there", name) }

// gone says that the kernel does not know the link.
func gone(err error) bool {
	var nf netlink.LinkNotFoundError
	return errors.As(err, &nf) || errors.Is(err, syscall.ENODEV)
}
