package flow

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Stat is one line of `ovs-ofctl dump-flows`.
type Stat struct {
	Cookie         Cookie
	Table          uint8
	Packets, Bytes uint64
}

// ParseDump reads the output of `ovs-ofctl dump-flows`, for OpenFlow 1.0 and
// later. Lines that are no rule are skipped.
func ParseDump(out []byte) ([]Stat, error) {
	var stats []Stat
	for raw := range bytes.Lines(out) {
		line := strings.TrimSpace(string(raw))
		if !strings.HasPrefix(line, "cookie=") {
			continue
		}
		st, err := parseStat(line)
		if err != nil {
			return nil, fmt.Errorf("read rule %.200q: %w", line, err)
		}
		stats = append(stats, st)
	}
	return stats, nil
}

func parseStat(line string) (s Stat, err error) {
	num := func(v string, base, bits int) uint64 {
		n, e := strconv.ParseUint(v, base, bits)
		if e != nil && err == nil {
			err = e
		}
		return n
	}
	for field := range strings.SplitSeq(line, ", ") {
		key, v, ok := strings.Cut(strings.TrimSpace(field), "=")
		if !ok {
			continue
		}
		switch key {
		case "cookie":
			s.Cookie = Cookie(num(v, 0, 64))
		case "table":
			s.Table = uint8(num(v, 10, 8))
		case "n_packets":
			s.Packets = num(v, 10, 64)
		case "n_bytes":
			s.Bytes = num(v, 10, 64)
		}
	}
	return s, err
}

// DropCounts adds up the frames dropped by our rules, for each name of
// [Reasons]; every name is there.
func DropCounts(stats []Stat) map[string]uint64 {
	counts, names := map[string]uint64{}, map[kind]string{}
	for _, r := range Reasons() {
		names[r.kind], counts[r.Name] = r.Name, 0
	}
	for _, s := range stats {
		if name, ok := names[s.Cookie.kind()&^kindOwner]; ok && s.Cookie.Ours() {
			counts[name] += s.Packets
		}
	}
	return counts
}

// Count is how many of the rules are ours and of the round. After a replay it
// is the number of lines of [Full].
func Count(stats []Stat, round uint16) int {
	n := 0
	for _, s := range stats {
		if s.Cookie.Ours() && s.Cookie.Round() == round {
			n++
		}
	}
	return n
}
