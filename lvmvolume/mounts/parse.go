package mounts

import (
	"fmt"
	"strconv"
	"strings"
)

// Mount is one line of a mountinfo file.
type Mount struct {
	ID, Parent int
	Dev        Dev
	Root       string // the directory of the file system that is seen
	Point      string // where it is seen, below the reader's root
	Options    string // of this mount, such as "rw,nodev,relatime"
	Peers      int    // the peer group that it shares mounts with, 0 is none
	FSType     string
	Source     string
	Super      string // options of the file system
}

// ReadOnly says that nobody can write through this mount.
func (m Mount) ReadOnly() bool { return hasOption(m.Options, "ro") || hasOption(m.Super, "ro") }

func hasOption(list, name string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == name {
			return true
		}
	}
	return false
}

// Parse reads a mountinfo file.
func Parse(text string) ([]Mount, error) {
	var ms []Mount
	for line := range strings.Lines(text) {
		m, err := parseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// parseLine reads
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//
// The fields between the mount's options and the dash are as many as there are.
func parseLine(line string) (Mount, error) {
	before, after, ok := strings.Cut(line, " - ")
	f, g := strings.Split(before, " "), strings.Split(after, " ")
	if !ok || len(f) < 6 || len(g) < 3 {
		return Mount{}, fmt.Errorf("mountinfo has no such line: %q", line)
	}
	id, errID := strconv.Atoi(f[0])
	parent, errParent := strconv.Atoi(f[1])
	dev, ok := parseDev(f[2])
	if errID != nil || errParent != nil || !ok {
		return Mount{}, fmt.Errorf("mountinfo has no such line: %q", line)
	}
	return Mount{
		ID: id, Parent: parent, Dev: dev,
		Root: unescape(f[3]), Point: unescape(f[4]), Options: f[5], Peers: peers(f[6:]),
		FSType: unescape(g[0]), Source: unescape(g[1]), Super: g[2],
	}, nil
}

// peers is the number of the peer group in fields such as "shared:7 master:1".
func peers(fields []string) int {
	for _, f := range fields {
		if group, ok := strings.CutPrefix(f, "shared:"); ok {
			n, _ := strconv.Atoi(group) // the kernel writes numbers only
			return n
		}
	}
	return 0
}

// unescape turns the kernel's \040 back into a blank, and so on.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b = append(b, byte(n))
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
