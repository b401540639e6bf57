package lvm

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// maxName is the longest name and tag we pass. LVM's own limits are 127 for
// names, VG and LV together also by the kernel's limit of 127 for a device
// name, and 1024 for tags.
const (
	maxName   = 127
	maxTag    = 1024
	maxDMName = 127
)

// reservedPrefixes and reservedParts are those of lib/misc/lvm-string.c of
// lvm2, with the names that lvcreate itself picks.
func reservedPrefixes() []string { return []string{"pvmove", "snapshot", "lvol"} }

func reservedParts() []string {
	return []string{
		"_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_iorig", "_imeta", "_mimage", "_mlog",
		"_rimage", "_rmeta", "_tdata", "_tmeta", "_vdata", "_vorigin", "_pmspare",
	}
}

// ValidName says whether name can be a logical volume's. The error is
// InvalidArgument and tells why.
func ValidName(name string) error {
	if err := validChars("volume", name); err != nil {
		return err
	}
	for _, p := range reservedPrefixes() {
		if strings.HasPrefix(name, p) {
			return fault.Invalid("volume name %q: names that begin with %q are LVM's own", name, p)
		}
	}
	for _, p := range reservedParts() {
		if strings.Contains(name, p) {
			return fault.Invalid("volume name %q: names with %q are LVM's own", name, p)
		}
	}
	return nil
}

// ValidVGName says whether name can be a volume group's. The error is
// InvalidArgument and tells why.
func ValidVGName(name string) error { return validChars("volume group", name) }

func validChars(what, name string) error {
	switch {
	case name == "":
		return fault.Invalid("%s name is empty", what)
	case len(name) > maxName:
		return fault.Invalid("%s name %q: longer than %d bytes", what, name, maxName)
	case name == "." || name == ".." || name[0] == '-':
		return fault.Invalid("%s name %q: must not be a dot or two, nor begin with a hyphen", what, name)
	case !only(name, "+_.-"):
		return fault.Invalid("%s name %q: only letters, digits and + _ . - are allowed", what, name)
	}
	return nil
}

// ValidTag says whether tag can be put on a volume. The error is
// InvalidArgument and tells why.
func ValidTag(tag string) error {
	switch {
	case tag == "" || len(tag) > maxTag:
		return fault.Invalid("tag %q: must have 1 to %d bytes", tag, maxTag)
	case tag[0] == '-':
		return fault.Invalid("tag %q: must not begin with a hyphen", tag)
	case !only(tag, "_+.-/=!:&#"):
		return fault.Invalid("tag %q: only letters, digits and _ + . - / = ! : & # are allowed", tag)
	}
	return nil
}

func only(s, more string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case strings.ContainsRune(more, r):
		default:
			return false
		}
	}
	return true
}

// validDevice lets through what can be a device: a clean absolute path below
// /dev.
func validDevice(dev string) error {
	if !regexp.MustCompile(`^/dev/[A-Za-z0-9_./:+@-]+$`).MatchString(dev) || strings.Contains(dev, "..") {
		return fault.Invalid("device %q: must be a path below /dev", dev)
	}
	return nil
}

// DMName returns the name that the kernel's device mapper knows a volume by:
// group and volume with their hyphens doubled, joined by one.
func DMName(vg, lv string) string {
	return strings.ReplaceAll(vg, "-", "--") + "-" + strings.ReplaceAll(lv, "-", "--")
}

// DevicePath returns the path of an active volume's block device.
func DevicePath(vg, lv string) string { return "/dev/mapper/" + DMName(vg, lv) }

// SplitDMName takes a name of [DMName] apart. The part behind a second single
// hyphen, which LVM puts to the inner devices of a volume, is layer.
func SplitDMName(name string) (vg, lv, layer string, ok bool) {
	parts := []string{""}
	for i := 0; i < len(name); i++ {
		last := len(parts) - 1
		switch {
		case name[i] != '-':
			parts[last] += name[i : i+1]
		case i+1 < len(name) && name[i+1] == '-':
			parts[last] += "-"
			i++
		default:
			parts = append(parts, "")
		}
	}
	switch len(parts) {
	case 2:
		return parts[0], parts[1], "", parts[0] != "" && parts[1] != ""
	case 3:
		return parts[0], parts[1], parts[2], parts[0] != "" && parts[1] != ""
	}
	return "", "", "", false
}

// checkLV checks a group's name with those of volumes in it, and that the
// kernel can name the devices.
func checkLV(vg string, lvs ...string) error {
	if err := ValidVGName(vg); err != nil {
		return err
	}
	for _, lv := range lvs {
		if err := ValidName(lv); err != nil {
			return err
		}
		if n := DMName(vg, lv); len(n) > maxDMName-len("-tpool") {
			return fault.Invalid("volume %s/%s: the names are too long together (%d bytes as a device, hyphens count twice)", vg, lv, len(n))
		}
	}
	return nil
}

func checkTags(tags ...string) error {
	for _, t := range tags {
		if err := ValidTag(t); err != nil {
			return err
		}
	}
	return nil
}

func checkSize(what string, size int64) error {
	if size <= 0 {
		return fault.Invalid("%s: size %d: must be more than 0", what, size)
	}
	return nil
}

// sizeArg is size for -L and the like, in whole sectors: lvm refuses others.
func sizeArg(size int64) string { return fmt.Sprintf("%db", (size+sector-1)/sector*sector) }

const sector = 512
