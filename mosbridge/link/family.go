package link

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
)

// HasFamily says whether the kernel has a generic netlink family. A kernel that
// loads modules on demand loads the family's.
func HasFamily(name string) (bool, error) {
	_, err := netlink.GenlFamilyGet(name)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, syscall.ENOENT):
		return false, nil
	}
	return false, fmt.Errorf("ask the kernel for generic netlink family %s: %w", name, err)
}
