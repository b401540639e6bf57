package link

import (
	"fmt"

	"github.com/safchain/ethtool"
)

// TX checksums of a veth, as the kernel names them. The kernel switches TSO off
// with them.
const (
	featureCsum = "tx-checksum-ip-generic"
	featureSCTP = "tx-checksum-sctp"
)

// setTx switches the checksum offload of what a link sends. It stays as it is
// when the link moves to another namespace.
func setTx(name string, on bool) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	if err := e.Change(name, map[string]bool{featureCsum: on, featureSCTP: on}); err != nil {
		return fmt.Errorf("switch TX checksum offload of link %s: %w", name, err)
	}
	return nil
}

// txOn says whether a link leaves the checksums of what it sends to others.
func txOn(name string) (bool, error) {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return false, err
	}
	defer e.Close()
	fs, err := e.Features(name)
	if err != nil {
		return false, fmt.Errorf("read offloads of link %s: %w", name, err)
	}
	return fs[featureCsum], nil
}

// dontMerge switches off what merges packets on receipt.
func dontMerge(r *repair, name string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	fs, err := e.Features(name)
	if err != nil {
		return fmt.Errorf("read offloads of link %s: %w", name, err)
	}
	off := map[string]bool{}
	for _, f := range []string{"rx-gro", "rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding", "rx-lro"} {
		if fs[f] {
			off[f] = false
		}
	}
	if len(off) == 0 {
		return nil
	}
	return r.fix(func() error {
		if err := e.Change(name, off); err != nil {
			return fmt.Errorf("switch receive offloads of link %s off: %w", name, err)
		}
		return nil
	}, "receive offloads of %s: off", name)
}
