package spec

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A volume's record is kept in three LVM tags, so that a change of state is one
// commit of LVM's metadata:
//
//	mos:name=data
//	mos:state=ready:1764226800
//	mos:spec=v=1&fs=ext4&made=1764226800&uid=999&gid=999&mode=750
//
// Bytes that a tag cannot hold, and our own separators, are written #XX.
const (
	tagName  = "mos:name="
	tagState = "mos:state="
	tagSpec  = "mos:spec="
)

// version is that of the record's form.
const version = "1"

// Tags is the record as LVM tags.
func (v Volume) Tags() []string { return []string{v.nameTag(), v.stateTag(), v.specTag()} }

func (v Volume) nameTag() string { return tagName + escape(v.Name) }

func (v Volume) stateTag() string {
	return tagState + string(v.State) + ":" + strconv.FormatInt(v.Since.Unix(), 10)
}

func (v Volume) specTag() string {
	fields := []string{"v=" + version, "fs=" + string(v.FS), "made=" + strconv.FormatInt(v.Created.Unix(), 10)}
	add := func(key, value string) {
		if value != "" {
			fields = append(fields, key+"="+escape(value))
		}
	}
	number := func(key string, n uint64) {
		if n > 0 {
			add(key, strconv.FormatUint(n, 10))
		}
	}
	number("uid", uint64(v.UID))
	number("gid", uint64(v.GID))
	fields = append(fields, "mode="+strconv.FormatUint(uint64(v.Mode), 8))
	add("chown", v.Chown)
	add("opts", v.MountOpts)
	number("stripes", uint64(v.Stripes))
	number("iops", v.IOPS)
	number("bps", v.BPS)
	add("from", v.From)
	add("snap", v.Snapshot)
	add("of", string(v.Of))
	return tagSpec + strings.Join(fields, "&")
}

// Retag is what turns the tags of one record into those of another.
func Retag(from, to Volume) (add, del []string) {
	have, want := from.Tags(), to.Tags()
	for _, t := range want {
		if !slices.Contains(have, t) {
			add = append(add, t)
		}
	}
	for _, t := range have {
		if !slices.Contains(want, t) {
			del = append(del, t)
		}
	}
	return add, del
}

// FromTags reads a record. Tags of others are passed over; what LVM knows by
// itself (type, place, size) is not in it. The error is of class
// InvalidArgument when a tag of ours is missing or cannot be read.
func FromTags(id ID, tags []string) (Volume, error) {
	v := Volume{ID: id}
	seen := map[string]int{}
	for _, t := range tags {
		for prefix, read := range map[string]func(*Volume, string) error{tagName: readName, tagState: readState, tagSpec: readSpec} {
			if rest, ok := strings.CutPrefix(t, prefix); ok {
				seen[prefix]++
				if err := read(&v, rest); err != nil {
					return v, fmt.Errorf("tag %s of %s: %w", t, id.Label(), err)
				}
			}
		}
	}
	for _, prefix := range []string{tagName, tagState, tagSpec} {
		if seen[prefix] != 1 {
			return v, invalid("%s has %d tags that begin with %s, want one", id.Label(), seen[prefix], prefix)
		}
	}
	return v, v.check()
}

// check refuses a record that can be read but does not describe a volume.
func (v Volume) check() error {
	err := CheckName(v.Name)
	if err == nil && v.Snapshot != "" {
		err = CheckSnapshotName(v.Snapshot)
	}
	switch {
	case err != nil:
		return fmt.Errorf("record of %s: %w", v.ID.Label(), err)
	case v.FS != Ext4 && v.FS != XFS:
		return invalid("record of %s: file system %q is not known", v.ID.Label(), v.FS)
	case v.UID < 0 || v.GID < 0 || v.Mode > 0o7777:
		return invalid("record of %s: owner %d:%d and mode %o cannot be", v.ID.Label(), v.UID, v.GID, v.Mode)
	}
	return nil
}

func readName(v *Volume, s string) (err error) {
	v.Name, err = unescape(s)
	return err
}

func readState(v *Volume, s string) error {
	state, at, _ := strings.Cut(s, ":")
	switch st := State(state); st {
	case Creating, Filling, Ready, Trashed:
		v.State = st
	default:
		return invalid("state %q is not known", state)
	}
	return readTime(&v.Since, at)
}

func readTime(t *time.Time, s string) error {
	sec, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return invalid("%q is no time", s)
	}
	*t = time.Unix(sec, 0).UTC()
	return nil
}

func readSpec(v *Volume, s string) error {
	for field := range strings.SplitSeq(s, "&") {
		key, value, _ := strings.Cut(field, "=")
		value, err := unescape(value)
		if err == nil {
			err = readField(v, key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readField passes over keys that a newer release may have added.
func readField(v *Volume, key, value string) (err error) {
	switch key {
	case "v":
		if value != version {
			return invalid("its form is of version %s, this release reads %s", value, version)
		}
	case "fs":
		v.FS = FS(value)
	case "made":
		return readTime(&v.Created, value)
	case "uid":
		v.UID, err = strconv.Atoi(value)
	case "gid":
		v.GID, err = strconv.Atoi(value)
	case "mode":
		var m uint64
		m, err = strconv.ParseUint(value, 8, 32)
		v.Mode = uint32(m)
	case "chown":
		v.Chown = value
	case "opts":
		v.MountOpts = value
	case "stripes":
		v.Stripes, err = strconv.Atoi(value)
	case "iops":
		v.IOPS, err = strconv.ParseUint(value, 10, 64)
	case "bps":
		v.BPS, err = strconv.ParseUint(value, 10, 64)
	case "from":
		v.From = value
	case "snap":
		v.Snapshot = value
	case "of":
		v.Of = ID(value)
	}
	if err != nil {
		return invalid("%s=%s cannot be read", key, value)
	}
	return nil
}

// plain are the bytes that stay as they are.
const plain = letters + "_.-+/"

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(plain, s[i]) >= 0 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "#%02X", s[i])
		}
	}
	return b.String()
}

func unescape(s string) (string, error) {
	if strings.Trim(s, plain+"#") != "" {
		return "", invalid("%q has characters that we would have escaped", s)
	}
	// The form is that of URLs with another mark.
	out, err := url.PathUnescape(strings.ReplaceAll(s, "#", "%"))
	if err != nil {
		return "", invalid("%q is not escaped well", s)
	}
	return out, nil
}
