package lvm

import (
	"fmt"
	"slices"
	"strings"
)

// Type says what a volume is made of.
type Type string

// The types of volumes.
const (
	LinearVolume  Type = "linear"
	StripedVolume Type = "striped"
	ThinVolume    Type = "thin" // also a snapshot of one
	ThinPool      Type = "thinpool"
	ThickSnapshot Type = "snapshot" // with a copy-on-write area of its own
	OtherVolume   Type = "other"    // mirrors, RAID, caches, …
)

// Health says what is wrong with a volume or pool.
type Health string

// The states of health.
const (
	Healthy          Health = ""
	Partial          Health = "partial" // a device is missing
	OutOfData        Health = "out-of-data"
	MetadataReadOnly Health = "metadata-read-only"
	Failed           Health = "failed"
	NeedsRefresh     Health = "needs-refresh"
	NeedsCheck       Health = "needs-check"
	Unsound          Health = "unsound" // any other complaint of LVM
)

// State is how a volume stands in the kernel.
type State struct {
	Active    bool
	Open      bool
	Suspended bool
	// Unfinished is a device without a live table, as a killed command leaves.
	// It is not Active; [Client.Deactivate] takes it away.
	Unfinished bool
	// Unknown is set when the kernel was not asked.
	Unknown  bool
	ReadOnly bool
	Health   Health
}

// attr is the field lv_attr: see lvs(8).
type attr string

const attrLen = 10

func parseAttr(s string) (attr, error) {
	if len(s) != attrLen {
		return "----------", fmt.Errorf("lv_attr %q: want %d letters", s, attrLen)
	}
	return attr(s), nil
}

// kind takes layout, the field lv_layout, for what the letters do not tell.
func (a attr) kind(layout string) Type {
	switch a[0] {
	case 'V':
		return ThinVolume
	case 't':
		return ThinPool
	case 's', 'S':
		return ThickSnapshot
	case '-', 'o':
		words := strings.Split(layout, ",")
		switch {
		case slices.Contains(words, "linear"):
			return LinearVolume
		case slices.Contains(words, "striped"):
			return StripedVolume
		}
	}
	return OtherVolume
}

func (a attr) state() State {
	s := State{Open: a[5] == 'o', ReadOnly: a[1] == 'r' || a[1] == 'R', Health: a.health()}
	switch a[4] {
	case 'a', 'c', 'I':
		s.Active = true
	case 's', 'S', 'C', 'M':
		s.Active, s.Suspended = true, true
	case 'm':
		s.Active = true
	case 'd', 'i':
		s.Unfinished = true
	case 'X':
		s.Unknown = true
	}
	return s
}

func (a attr) health() Health {
	switch a[8] {
	case 'p':
		return Partial
	case 'D':
		return OutOfData
	case 'M':
		return MetadataReadOnly
	case 'F':
		return Failed
	case 'r':
		return NeedsRefresh
	}
	switch a[4] {
	case 'c', 'C':
		return NeedsCheck
	case 'I', 'S', 'm', 'M':
		return Unsound
	}
	if a[8] != '-' && a[8] != 'X' {
		return Unsound
	}
	return Healthy
}
