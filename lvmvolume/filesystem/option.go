package filesystem

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Options are checked mount options. The zero value is none.
type Options struct {
	flags map[string]flag
	data  map[string]string // by key, as the kernel is told: "discard", "commit=5"
}

// flag is a word that sets bits of mount(2), or clears them.
type flag struct {
	set, clear uintptr
	word       string
}

// ParseOptions checks mount options as a user writes them, separated by commas.
// Only what is listed in [AllowedOptions] passes: nothing that names other devices
// or journals, that gives up barriers, or that turns the host's panic or a silent
// error into the answer to a fault. Of words that contradict each other the last
// one holds. Others give ErrInvalidArgument.
func ParseOptions(t Type, list string) (Options, error) {
	o := Options{flags: map[string]flag{}, data: map[string]string{}}
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		if word == "" || word == "defaults" {
			continue
		}
		if err := o.add(t, word); err != nil {
			return Options{}, err
		}
	}
	return o, nil
}

func (o Options) add(t Type, word string) error {
	for _, f := range flags() {
		if f.word == word {
			o.flags[subject(f)] = f
			return nil
		}
	}
	key, value, _ := strings.Cut(word, "=")
	for _, d := range dataOptions(t) {
		if d.key != key {
			continue
		}
		if !d.ok(value, strings.Contains(word, "=")) {
			return fault.Invalid("mount option %q: want %s", word, d.help())
		}
		if d.silent {
			return nil
		}
		delete(o.data, d.undoes)
		o.data[key] = word
		return nil
	}
	return fault.Invalid("mount option %q is not allowed for %s: choose of %s", word, t, strings.Join(AllowedOptions(t), ", "))
}

// subject returns what a flag is about, the same for a word and its contrary.
func subject(f flag) string {
	switch f.word {
	case "atime", "noatime", "relatime", "strictatime":
		return "atime"
	case "rw", "ro":
		return "ro"
	case "async":
		return "sync"
	}
	return strings.TrimPrefix(f.word, "no")
}

// AllowedOptions returns the mount options that [ParseOptions] takes, as they are
// written in documents.
func AllowedOptions(t Type) []string {
	var words []string
	for _, f := range flags() {
		words = append(words, f.word)
	}
	for _, d := range dataOptions(t) {
		if !d.silent {
			words = append(words, d.help())
		}
	}
	slices.Sort(words)
	return words
}

// String returns the options in the order in which the kernel is told them: flags,
// then data.
func (o Options) String() string {
	var words []string
	for _, s := range slices.Sorted(maps.Keys(o.flags)) {
		words = append(words, o.flags[s].word)
	}
	return strings.Join(append(words, o.dataWords()...), ",")
}

// ReadOnly says that the user asked for a mount that nobody can write to.
func (o Options) ReadOnly() bool { return o.flags["ro"].word == "ro" }

func (o Options) dataWords() []string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(o.data)) {
		words = append(words, o.data[k])
	}
	return words
}

// bits returns the flags of mount(2). Device nodes do not work unless the user
// asked for them: a container has its own /dev, and one in a volume gets around
// the device rules of another. Programs and set-user-id bits are a container's
// everyday business and work.
func (o Options) bits(readOnly bool) uintptr {
	bits := uintptr(unix.MS_NODEV)
	for _, s := range slices.Sorted(maps.Keys(o.flags)) {
		bits = bits&^o.flags[s].clear | o.flags[s].set
	}
	if readOnly {
		bits |= unix.MS_RDONLY
	}
	return bits
}

func flags() []flag {
	const access = unix.MS_NOATIME | unix.MS_RELATIME | unix.MS_STRICTATIME
	return []flag{
		{0, unix.MS_RDONLY, "rw"},
		{unix.MS_RDONLY, 0, "ro"},
		{0, access, "atime"},
		{unix.MS_NOATIME, access, "noatime"},
		{unix.MS_RELATIME, access, "relatime"},
		{unix.MS_STRICTATIME, access, "strictatime"},
		{0, unix.MS_NODIRATIME, "diratime"},
		{unix.MS_NODIRATIME, 0, "nodiratime"},
		{unix.MS_LAZYTIME, 0, "lazytime"},
		{0, unix.MS_LAZYTIME, "nolazytime"},
		{0, unix.MS_NODEV, "dev"},
		{unix.MS_NODEV, 0, "nodev"},
		{0, unix.MS_NOEXEC, "exec"},
		{unix.MS_NOEXEC, 0, "noexec"},
		{0, unix.MS_NOSUID, "suid"},
		{unix.MS_NOSUID, 0, "nosuid"},
		{0, unix.MS_NOSYMFOLLOW, "symfollow"},
		{unix.MS_NOSYMFOLLOW, 0, "nosymfollow"},
		{unix.MS_SYNCHRONOUS, 0, "sync"},
		{0, unix.MS_SYNCHRONOUS, "async"},
		{unix.MS_DIRSYNC, 0, "dirsync"},
	}
}

// dataOption is a word of a file system's own.
type dataOption struct {
	key    string
	values []string // the values it may have; none is a word without value
	low    int      // or the range of a number
	high   int
	silent bool   // taken, but nothing that the kernel need be told
	undoes string // the key of the contrary
}

func (d dataOption) ok(value string, given bool) bool {
	switch {
	case d.high > 0:
		n, err := strconv.Atoi(value)
		return err == nil && n >= d.low && n <= d.high && strconv.Itoa(n) == value
	case len(d.values) > 0:
		return slices.Contains(d.values, value)
	}
	return !given
}

func (d dataOption) help() string {
	switch {
	case d.high > 0:
		return d.key + "=" + strconv.Itoa(d.low) + ".." + strconv.Itoa(d.high)
	case len(d.values) > 0:
		return d.key + "=" + strings.Join(d.values, "|")
	}
	return d.key
}

func dataOptions(t Type) []dataOption {
	common := []dataOption{
		{key: "discard", undoes: "nodiscard"},
		{key: "nodiscard", undoes: "discard"},
		{key: "grpid", undoes: "nogrpid"},
		{key: "nogrpid", undoes: "grpid"},
	}
	if t == XFS {
		return append(common, []dataOption{
			{key: "nouuid", silent: true}, // always so
			{key: "allocsize", values: []string{"64k", "128k", "256k", "512k", "1m", "2m", "4m", "8m", "16m", "32m", "64m", "128m", "256m", "512m", "1g"}},
			{key: "filestreams"},
			{key: "inode32", undoes: "inode64"},
			{key: "inode64", undoes: "inode32"},
			{key: "largeio", undoes: "nolargeio"},
			{key: "nolargeio", undoes: "largeio"},
			{key: "logbsize", values: []string{"32k", "64k", "128k", "256k"}},
			{key: "logbufs", low: 2, high: 8},
			{key: "swalloc"},
			{key: "wsync"},
		}...)
	}
	return append(common, []dataOption{
		{key: "auto_da_alloc"},
		{key: "commit", low: 1, high: 60},
		{key: "data", values: []string{"ordered", "journal"}},
		{key: "delalloc", undoes: "nodelalloc"},
		{key: "nodelalloc", undoes: "delalloc"},
		{key: "errors", values: []string{"remount-ro"}},
		{key: "init_itable", low: 1, high: 100, undoes: "noinit_itable"},
		{key: "noinit_itable", undoes: "init_itable"},
		{key: "max_batch_time", low: 1, high: 1_000_000},
		{key: "min_batch_time", low: 1, high: 1_000_000},
		{key: "stripe", low: 1, high: 1 << 20},
	}...)
}
