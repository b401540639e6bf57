package spec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Option is one row of the table that option parsing, the docs and the
// completion are made from.
type Option struct {
	Key     string
	Value   string // the form of the value, for people
	Default string
	Help    string
	// Copied says that a copy (from=) takes the value of what it is copied from
	// when the option is not given.
	Copied bool
	set    func(*Volume, string) error
}

// Options is the table of all options of `docker volume create -o`, sorted by key.
func Options() []Option {
	return []Option{
		{Key: "bps", Value: "RATE", Default: "none", Copied: true, Help: "most bytes a second, such as 100m, read and written each; mosd enforces it, see cgroup-settings.md.", set: setBPS},
		{Key: "from", Value: "VOLUME[@SNAPSHOT]", Default: "none", Help: "make the volume a copy of another one, or of a snapshot.", set: setFrom},
		{Key: "fs", Value: "ext4|xfs", Default: "ext4", Copied: true, Help: "file system.", set: setFS},
		{
			Key: "gid", Value: "NUMBER", Default: "0", Copied: true, Help: "group of the volume's directory.",
			set: func(v *Volume, s string) (err error) { v.GID, err = owner(s); return err },
		},
		{Key: "iops", Value: "NUMBER", Default: "none", Copied: true, Help: "most operations a second, reads and writes each; mosd enforces it, see cgroup-settings.md.", set: setIOPS},
		{Key: "mode", Value: "OCTAL", Default: "0755", Copied: true, Help: "mode of the volume's directory.", set: setMode},
		{Key: "mountopts", Value: "OPTION,…", Default: "none", Copied: true, Help: "mount options, such as noatime.", set: setMountOpts},
		{
			Key: "size", Value: "SIZE", Default: "of the source, with from",
			Help: "hard limit, such as 20g; rounded up to whole extents (4 MiB) by LVM.",
			set:  func(v *Volume, s string) (err error) { v.Size, err = ParseSize(s); return err },
		},
		{Key: "stripes", Value: "NUMBER", Default: "one a disk", Help: "disks that a striped volume is spread over.", set: setStripes},
		{Key: "type", Value: "thin|linear|striped|loop", Default: "the host's", Copied: true, Help: "how the blocks are kept.", set: setType},
		{
			Key: "uid", Value: "NUMBER", Default: "0", Copied: true, Help: "owner of the volume's directory.",
			set: func(v *Volume, s string) (err error) { v.UID, err = owner(s); return err },
		},
		{Key: "vg", Value: "NAME", Default: "the host's", Copied: true, Help: "volume group that holds the volume.", set: setVG},
	}
}

func setBPS(v *Volume, s string) (err error) {
	v.BPS, err = ParseSize(s)
	return err
}

func setIOPS(v *Volume, s string) error {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return invalid("want a number above 0, not %.40q", s)
	}
	v.IOPS = n
	return nil
}

func setFrom(v *Volume, s string) error {
	if _, _, err := SplitRef(s); err != nil {
		return err
	}
	v.From = s
	return nil
}

func setFS(v *Volume, s string) error {
	switch fs := FS(s); fs {
	case Ext4, XFS:
		v.FS = fs
		return nil
	}
	return invalid("want ext4 or xfs, not %.40q", s)
}

func owner(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 { // which means "leave it" to chown
		return 0, invalid("want a number such as 1000, not %.40q", s)
	}
	return int(n), nil
}

func setMode(v *Volume, s string) error {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o7777 {
		return invalid("want an octal mode such as 0755, not %.40q", s)
	}
	v.Mode = uint32(n)
	return nil
}

// longestOpts bounds what one tag has to hold, after escaping.
const longestOpts = 400

// setMountOpts leaves to those who use the options what they mean.
func setMountOpts(v *Volume, s string) error {
	if n := len(escape(s)); n > longestOpts {
		return invalid("%.20q… is too long: with three for each ',' and '=' it has %d characters, at most %d are possible", s, n, longestOpts)
	}
	v.MountOpts = s
	return nil
}

func setStripes(v *Volume, s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 2 || n > 128 {
		return invalid("want 2 to 128, not %.40q", s)
	}
	v.Stripes = n
	return nil
}

func setType(v *Volume, s string) error {
	if t := Type(s); slices.Contains(Types(), t) {
		v.Type = t
		return nil
	}
	return invalid("want thin, linear, striped or loop, not %.40q", s)
}

func setVG(v *Volume, s string) error {
	if len(s) > 127 || s == "" || strings.Trim(s, letters+"+_.-") != "" || s[0] == '-' || s == "." || s == ".." {
		return invalid("%.40q is no name of a volume group", s)
	}
	v.Place = s
	return nil
}

// Request is what Docker sends for `docker volume create`.
type Request struct {
	Name    string
	Options map[string]string
}

// Parse checks a request and fills in the defaults that do not depend on the
// host or on a source. Type and Place stay empty when they are not asked for.
// Errors are of class InvalidArgument.
func Parse(r Request) (Volume, error) {
	if err := CheckName(r.Name); err != nil {
		return Volume{}, err
	}
	v := Volume{Name: r.Name, FS: Ext4, Mode: 0o755}
	if err := parse(r.Options, &v); err != nil {
		return Volume{}, err
	}
	if v.Size == 0 && v.From == "" {
		return Volume{}, invalid("volume %s has no size: give -o size=20g, or another hard limit", r.Name)
	}
	if v.Stripes > 0 && v.Type != Striped {
		return Volume{}, invalid("stripes=%d needs type=striped", v.Stripes)
	}
	if v.Type == Loop && v.Place != "" {
		return Volume{}, invalid("type=loop and vg=%s exclude each other: loop volumes are files", v.Place)
	}
	if v.Size != 0 && v.From == "" {
		return v, v.FS.CheckSize(v.Size)
	}
	return v, nil
}

func parse(given map[string]string, v *Volume) error {
	table := map[string]Option{}
	var known []string
	for _, o := range Options() {
		table[o.Key] = o
		known = append(known, o.Key)
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		o, ok := table[key]
		if !ok {
			return invalid("option %.60q is not known: mos-lvm takes %s", key, strings.Join(known, ", "))
		}
		if err := o.set(v, given[key]); err != nil {
			return fmt.Errorf("option %s: %w", key, err)
		}
	}
	return nil
}

// Inherit gives a copy what its source has and the request did not set. A copy
// may be larger than its source, never smaller; its file system and place are
// the source's.
func Inherit(r Request, v, src Volume) (Volume, error) {
	for _, o := range Options() {
		if _, given := r.Options[o.Key]; given && o.Copied {
			switch {
			case o.Key == "fs" && v.FS != src.FS, o.Key == "type" && v.Type != src.Type, o.Key == "vg" && v.Place != src.Place:
				return v, invalid("option %s=%s differs from what %s has: a copy stays where its source is; export and import move one", o.Key, r.Options[o.Key], v.From)
			}
		}
	}
	v.FS, v.Type, v.Place, v.Stripes = src.FS, src.Type, src.Place, src.Stripes
	if v.Size == 0 {
		v.Size = src.Size
	}
	if v.Size < src.Size {
		return v, invalid("size %s is smaller than the %s of %s: a copy can be larger, not smaller", Bytes(v.Size), Bytes(src.Size), v.From)
	}
	inherit(r, &v, src)
	return v, nil
}

// Given is what of a directory's owner and mode a request sets, as Volume.Chown has it.
func Given(r Request) string {
	var chown strings.Builder
	for _, key := range []string{"uid", "gid", "mode"} {
		if _, given := r.Options[key]; given {
			chown.WriteByte(key[0])
		}
	}
	return chown.String()
}

// inherit copies the plain values that were not given.
func inherit(r Request, v *Volume, src Volume) {
	v.Chown = Given(r)
	for _, c := range src.Chown { // a source that was never mounted
		if !strings.ContainsRune(v.Chown, c) {
			v.Chown += string(c)
		}
	}
	not := func(key string) bool { _, given := r.Options[key]; return !given }
	if not("uid") {
		v.UID = src.UID
	}
	if not("gid") {
		v.GID = src.GID
	}
	if not("mode") {
		v.Mode = src.Mode
	}
	if not("mountopts") {
		v.MountOpts = src.MountOpts
	}
	if not("iops") {
		v.IOPS = src.IOPS
	}
	if not("bps") {
		v.BPS = src.BPS
	}
}

// Same says whether an existing volume is what a request asks for: a repeated
// request is answered as the first. Only what the request sets counts.
func Same(r Request, want, have Volume) error {
	differs := func(key string) bool {
		switch key {
		case "size":
			return have.Size < want.Size
		case "type":
			return have.Type != want.Type
		case "vg":
			return have.Place != want.Place
		case "fs":
			return have.FS != want.FS
		case "from":
			return have.From != want.From
		case "uid":
			return have.UID != want.UID
		case "gid":
			return have.GID != want.GID
		case "mode":
			return have.Mode != want.Mode
		case "mountopts":
			return have.MountOpts != want.MountOpts
		case "stripes":
			return have.Stripes != want.Stripes
		case "iops":
			return have.IOPS != want.IOPS
		case "bps":
			return have.BPS != want.BPS
		}
		return false
	}
	for _, key := range slices.Sorted(maps.Keys(r.Options)) {
		if differs(key) {
			return invalid("volume %s exists with another %s: use it as it is, grow it with docker mos volume resize, or choose another name", r.Name, key)
		}
	}
	return nil
}
