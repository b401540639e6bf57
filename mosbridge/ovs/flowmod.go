package ovs

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// A flow line is turned into OpenFlow here when all of its words are known, and
// by ovs-ofctl else. To start ovs-ofctl costs more than all else that attaching
// a container does, on a busy machine most of all.

const (
	ofFlowMod = 14

	allTables       = 0xff
	defaultPriority = 0x8000
	noBuffer        = 0xffffffff
)

// commands are the words that a line may begin with.
var commands = []string{"add", "modify", "modify_strict", "delete", "delete_strict"} //nolint:gochecknoglobals // a constant table; the index is OpenFlow's number

// flowMod is a flow line taken apart.
type flowMod struct {
	command      uint8
	cookie, mask uint64
	table        uint8
	priority     uint16
	match        []oxm
	instructions []byte
}

// compile turns a line into the body of a flow modification; ok is false for a
// line with words that it does not know, or that ovs-ofctl would refuse.
func compile(line string) (body []byte, ok bool) {
	f := flowMod{priority: defaultPriority}
	head, actions, acts := strings.Cut(strings.TrimSpace(line), "actions=")
	head = strings.TrimRight(head, ", ")
	if word, rest, cut := strings.Cut(head, " "); cut {
		for i, c := range commands {
			if word == c {
				f.command, head = uint8(i), rest
			}
		}
	}
	deletes := f.command >= 3
	if deletes == acts { // a deletion has none, all else has
		return nil, false
	}
	if deletes {
		f.table = allTables
	}
	if !f.fields(head) || acts && !f.actions(strings.TrimSpace(actions)) {
		return nil, false
	}
	return f.body()
}

// fields reads all before the actions.
func (f *flowMod) fields(head string) bool {
	seen := map[string]bool{}
	var words []string
	for field := range strings.FieldsFuncSeq(head, func(r rune) bool { return r == ',' || r == ' ' }) {
		key, value, _ := strings.Cut(field, "=")
		if seen[key] {
			return false
		}
		seen[key] = true
		switch key {
		case "cookie":
			if !f.setCookie(value) {
				return false
			}
		case "table":
			n, err := strconv.ParseUint(value, 10, 8)
			if err != nil {
				return false
			}
			f.table = uint8(n)
		case "priority":
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil {
				return false
			}
			f.priority = uint16(n)
		default:
			words = append(words, field)
		}
	}
	if modifies := f.command == 1 || f.command == 2; modifies && !seen["table"] {
		return false
	}
	var ok bool
	f.match, ok = matches(words)
	return ok
}

// setCookie reads "value" for new flows, "value/mask" for a choice of flows.
func (f *flowMod) setCookie(s string) bool {
	value, mask, masked := strings.Cut(s, "/")
	var err error
	if f.cookie, err = strconv.ParseUint(value, 0, 64); err != nil || masked == (f.command == 0) {
		return false
	}
	switch {
	case mask == "-1":
		f.mask = ^uint64(0)
	case masked:
		f.mask, err = strconv.ParseUint(mask, 0, 64)
	}
	return err == nil
}

func (f *flowMod) body() ([]byte, bool) {
	b := binary.BigEndian.AppendUint64(nil, f.cookie)
	b = binary.BigEndian.AppendUint64(b, f.mask)
	b = append(b, f.table, f.command)
	b = append(b, 0, 0, 0, 0) // no timeouts
	b = binary.BigEndian.AppendUint16(b, f.priority)
	b = binary.BigEndian.AppendUint32(b, noBuffer)
	b = binary.BigEndian.AppendUint32(b, ofAny) // output port
	b = binary.BigEndian.AppendUint32(b, ofAny) // output group
	b = append(b, 0, 0, 0, 0)                   // no flags, no importance
	b = appendMatch(b, f.match)
	b = append(b, f.instructions...)
	// A message's length has 16 bits, and this one travels inside another.
	return b, len(b) < 1<<16-64
}

// pad fills up to a multiple of 8 bytes, counted from start.
func pad(b []byte, start int) []byte {
	for (len(b)-start)%8 != 0 {
		b = append(b, 0)
	}
	return b
}
