package ovs

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// Instructions and actions of OpenFlow 1.4 (sections 7.2.4 and 7.2.5), and of
// Nicira's extensions.
const (
	instrGoto  = 1
	instrApply = 4
	instrMeter = 6

	actOutput       = 0
	actPushVlan     = 17
	actPopVlan      = 18
	actSetField     = 25
	actExperimenter = 0xffff

	nicira        = 0x00002320
	nxResubmit    = 14 // to a table
	nxOutputReg   = 15
	nxInPort      = 0xfff8
	ethVlan       = 0x8100
	registerBits  = 32
	outputAllData = 0xffff
)

// actions reads the actions of a line into instructions.
func (f *flowMod) actions(s string) bool {
	if s == "drop" {
		return true
	}
	var meter, list, next []byte
	for i, a := range splitActions(s) {
		if next != nil {
			return false // goto_table is the last
		}
		name, arg, _ := strings.Cut(a, ":")
		var ok bool
		switch {
		case name == "meter" && i == 0:
			meter, ok = instruction(instrMeter, arg, 32)
		case name == "goto_table":
			next, ok = instruction(instrGoto, arg, 8)
		default:
			list, ok = appendAction(list, a)
		}
		if !ok {
			return false
		}
	}
	f.instructions = meter
	if len(list) > 0 {
		b := binary.BigEndian.AppendUint16(f.instructions, instrApply)
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(list)))
		f.instructions = append(append(b, 0, 0, 0, 0), list...)
	}
	f.instructions = append(f.instructions, next...)
	return len(f.instructions) > 0 && len(list) < 1<<16-256
}

// splitActions cuts at commas, but not at those in parentheses.
func splitActions(s string) []string {
	var as []string
	depth, start := 0, 0
	for i, r := range s {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				as = append(as, s[start:i])
				start = i + 1
			}
		}
	}
	return append(as, s[start:])
}

// instruction is one of 8 bytes with a number: a table's stands in the first
// byte, a meter's in four.
func instruction(kind uint16, arg string, bits int) ([]byte, bool) {
	n, err := strconv.ParseUint(arg, 10, bits)
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, 8)
	if bits == 8 {
		return append(b, byte(n), 0, 0, 0), err == nil && n < allTables
	}
	return binary.BigEndian.AppendUint32(b, uint32(n)), err == nil && n > 0 && n < 1<<31
}

// action begins an action of that size.
func action(b []byte, kind, size uint16) []byte {
	b = binary.BigEndian.AppendUint16(b, kind)
	return binary.BigEndian.AppendUint16(b, size)
}

func appendAction(b []byte, a string) ([]byte, bool) {
	switch {
	case a == "pop_vlan":
		return append(action(b, actPopVlan, 8), 0, 0, 0, 0), true
	case a == "push_vlan:0x8100":
		b = action(b, actPushVlan, 8)
		return append(binary.BigEndian.AppendUint16(b, ethVlan), 0, 0), true
	case strings.HasPrefix(a, "output:"):
		return appendOutput(b, a[len("output:"):])
	case strings.HasPrefix(a, "set_field:"):
		return appendSetField(b, a[len("set_field:"):])
	case strings.HasPrefix(a, "resubmit(,") && strings.HasSuffix(a, ")"):
		n, err := strconv.ParseUint(a[len("resubmit(,"):len(a)-1], 10, 8)
		b = binary.BigEndian.AppendUint32(action(b, actExperimenter, 16), nicira)
		b = binary.BigEndian.AppendUint16(b, nxResubmit)
		b = binary.BigEndian.AppendUint16(b, nxInPort)
		return append(b, byte(n), 0, 0, 0), err == nil && n < allTables
	}
	return nil, false
}

// appendOutput sends to a port, or to the one whose number a register has.
func appendOutput(b []byte, to string) ([]byte, bool) {
	if reg, ok := strings.CutSuffix(to, "[]"); ok {
		reg, isReg := strings.CutPrefix(reg, "NXM_NX_REG")
		n, ok := register("reg" + reg)
		b = binary.BigEndian.AppendUint32(action(b, actExperimenter, 24), nicira)
		b = binary.BigEndian.AppendUint16(b, nxOutputReg)
		b = binary.BigEndian.AppendUint16(b, registerBits-1) // from bit 0
		b = append(b, 0, classNXM1, n<<1, registerBits/8)
		b = binary.BigEndian.AppendUint16(b, outputAllData)
		return append(b, 0, 0, 0, 0, 0, 0), ok && isReg
	}
	n, err := strconv.ParseUint(to, 10, 32)
	b = binary.BigEndian.AppendUint32(action(b, actOutput, 16), uint32(n))
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0), err == nil && n > 0 && n < maxPort
}

// appendSetField sets a register or the VLAN.
func appendSetField(b []byte, s string) ([]byte, bool) {
	value, to, _ := strings.Cut(s, "->")
	var m oxm
	if n, ok := register(to); ok {
		v, ok := valueOf(value, asNumber, 4)
		if !ok {
			return nil, false
		}
		m = oxm{class: classNXM1, field: n, value: v}
	} else {
		v, err := strconv.ParseUint(value, 0, 13)
		if to != "vlan_vid" || err != nil || v&vlanPresent == 0 || octal(value) {
			return nil, false
		}
		m = oxm{class: classBasic, field: oxmVlanVID, value: bytesOf(v, 2)}
	}
	start := len(b)
	b = pad(m.append(action(b, actSetField, 0)), start)
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b, true
}
