package link

import (
	"errors"
	"os"
	"path/filepath"
)

// forwarding switches the host's forwarding on for the families that the
// gateway has. It is never switched off: others may have come to need it.
func (g Gateway) forwarding(r *repair) error {
	if g.has(true) {
		// Switching it on for all writes the links' own values anew.
		if err := r.sysctl("ipv4/ip_forward", "1"); err != nil {
			return err
		}
	}
	if !g.has(false) || !haveIPv6() {
		return nil
	}
	const all = "ipv6/conf/all/forwarding"
	if have, err := readSysctl(all); err != nil || have == "1" {
		return err
	}
	if err := keepRouterAdvertisements(r); err != nil {
		return err
	}
	return r.sysctl(all, "1")
}

// keepRouterAdvertisements lets links that get their routes by router
// advertisements (accept_ra 1: "only while not forwarding") go on so. Without
// it the host would lose its default route some minutes after forwarding was
// switched on.
func keepRouterAdvertisements(r *repair) error {
	dirs, err := os.ReadDir(filepath.Join(sysctls, "ipv6/conf"))
	if err != nil {
		return err
	}
	for _, d := range dirs {
		name := d.Name()
		if name == "all" || name == "default" || name == "lo" {
			continue
		}
		key := "ipv6/conf/" + name + "/accept_ra"
		have, err := readSysctl(key)
		if errors.Is(err, os.ErrNotExist) { // the link went
			continue
		}
		if err != nil {
			return err
		}
		if have == "1" {
			if err := r.sysctl(key, "2"); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
