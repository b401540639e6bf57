package setting

import (
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Atom is one value of one file of a cgroup.
type Atom struct {
	Setting    string `json:"setting"`    // that it is of
	Controller string `json:"controller"` // as the version names it
	File       string `json:"file"`
	// Line is which line of the file it is, by its first word: a device, or default.
	// Field is which KEY=VALUE of the line. Both are "" where the file has one value.
	Line     string `json:"line,omitempty"`
	Field    string `json:"field,omitempty"`
	Value    string `json:"value"`
	None     string `json:"none,omitempty"`     // value of a line that is not there
	Property string `json:"property,omitempty"` // of systemd, "" where the file is written
}

// Text is what is written to the file to make the value so.
func (a Atom) Text(value string) string {
	switch {
	case a.Line == "":
		return value
	case a.Field == "":
		return a.Line + " " + value
	}
	return a.Line + " " + a.Field + "=" + value
}

// In is the value in what the file holds.
func (a Atom) In(content string) string {
	if a.Line == "" {
		return strings.TrimSpace(content)
	}
	for line := range strings.Lines(content) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != a.Line {
			continue
		}
		if a.Field == "" {
			return words[1]
		}
		for _, w := range words[1:] {
			if key, value, _ := strings.Cut(w, "="); key == a.Field {
				return value
			}
		}
	}
	return a.None
}

// Key tells atoms of one cgroup apart.
func (a Atom) Key() string { return strings.TrimSpace(a.File + " " + a.Line + " " + a.Field) }

// Atoms are what a setting is on a version of cgroups; its value is that of [Parse].
// number gives the MAJOR:MINOR of a device. What the version does not have is of class
// NotImplemented.
func Atoms(version int, name, value string, number func(device string) (string, error)) ([]Atom, error) {
	s, err := Find(name)
	if err != nil {
		return nil, err
	}
	if version == 1 && s.V1 == "" {
		return nil, fault.Later("%s cannot be had here: the host's cgroups are of version 1, and %s", name, s.Note)
	}
	controller, _, _ := strings.Cut(name, ".")
	if version == 1 && controller == "io" {
		controller = "blkio"
	}
	a := Atom{Setting: name, Controller: controller, File: name, Property: s.Property, Value: value}
	if version == 1 {
		a.File, a.Property = s.V1, ""
	}
	switch {
	case name == "io.max" || name == "io.latency":
		return a.devices(version, number)
	case name == "io.weight":
		return a.weights(version, number)
	case version == 1:
		a.Value = old(name, value)
	}
	return []Atom{a}, nil
}

// noLimit is what version 1 is told for none; it is told back as a large number.
const noLimit = "-1"

// old is a value as version 1 has it.
func old(name, value string) string {
	switch {
	case name == "cpu.weight":
		// As the kernel does for version 2, in sched_group_set_shares' callers:
		// weight * 1024 / 100, rounded.
		n, _ := strconv.ParseUint(value, 10, 64) // is one, see Parse
		return strconv.FormatUint((n*1024+50)/100, 10)
	case name == "memory.low" && (value == "0" || value == Max),
		strings.HasPrefix(name, "hugetlb.") && value == Max:
		return noLimit
	}
	return value
}

// entries are those of the value, each with its device's number for its first word.
func (a Atom) entries(number func(string) (string, error)) (out [][]string, err error) {
	for entry := range strings.SplitSeq(a.Value, ", ") {
		words := strings.Fields(entry)
		if words[0] != "default" {
			if words[0], err = number(words[0]); err != nil {
				return nil, fault.Invalid("%s: %w", a.Setting, err)
			}
		}
		out = append(out, words)
	}
	return out, nil
}

func (a Atom) devices(version int, number func(string) (string, error)) (out []Atom, err error) {
	entries, err := a.entries(number)
	if err != nil {
		return nil, err
	}
	for _, words := range entries {
		for _, w := range words[1:] {
			one := a
			one.Line, one.None = words[0], Max
			one.Field, one.Value, _ = strings.Cut(w, "=")
			if version == 1 {
				direction := map[byte]string{'r': "read", 'w': "write"}[one.Field[0]]
				one.File, one.Field, one.None = "blkio.throttle."+direction+"_"+one.Field[1:]+"_device", "", "0"
				if one.Value == Max {
					one.Value = "0"
				}
			}
			out = append(out, one)
		}
	}
	return out, nil
}

func (a Atom) weights(version int, number func(string) (string, error)) (out []Atom, err error) {
	entries, err := a.entries(number)
	if err != nil {
		return nil, err
	}
	for _, words := range entries {
		one := a
		one.Line, one.Value = words[0], words[1]
		all := one.Line == "default"
		if !all {
			one.Property, one.None = "", "default"
		}
		if version == 1 {
			if Above(one.Value, "1000") {
				return nil, fault.Later("io.weight of %s cannot be had here: the host's cgroups are of version 1, where BFQ takes 1 to 1000", one.Value)
			}
			if all {
				one.Line = ""
			} else {
				one.File += "_device"
			}
		}
		out = append(out, one)
	}
	return out, nil
}
