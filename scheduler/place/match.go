package place

import (
	"cmp"
	"slices"
	"strings"
)

// label is that of a host, or of its place.
func (h *Host) label(key string) (string, bool) {
	switch key {
	case "host":
		return string(h.ID), true
	case "room":
		return h.Room, h.Room != ""
	case "rack":
		return h.Rack, h.Rack != ""
	}
	v, ok := h.Labels[key]
	return v, ok
}

// met says whether a label with value v, if there is one, meets the constraint.
func (c Constraint) met(v string, there bool) bool {
	switch c.Op {
	case In:
		return there && slices.Contains(c.Values, v)
	case NotIn:
		return !there || !slices.Contains(c.Values, v)
	case Exists:
		return there
	case Absent:
		return !there
	case Above:
		return there && compare(v, c.Values[0]) > 0
	case Below:
		return there && compare(v, c.Values[0]) < 0
	}
	return false
}

func (c Constraint) of(h *Host) bool {
	v, ok := h.label(c.Key)
	return c.met(v, ok)
}

// compare orders by the numbers in a and b, and then by the text, part by part.
func compare(a, b string) int {
	x, y := strings.FieldsFunc(a, separator), strings.FieldsFunc(b, separator)
	for i := range min(len(x), len(y)) {
		if c := comparePart(x[i], y[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

func separator(r rune) bool { return strings.ContainsRune(".-+~_:", r) }

func comparePart(a, b string) int {
	n, rest := number(a)
	m, more := number(b)
	return cmp.Or(cmp.Compare(len(n), len(m)), cmp.Compare(n, m), cmp.Compare(rest, more))
}

// number splits s behind its leading digits, which it gives without leading zeros.
func number(s string) (digits, rest string) {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	return strings.TrimLeft(s[:end], "0"), s[end:]
}

func (a *Ask) tolerates(t Taint) bool {
	return slices.ContainsFunc(a.Tolerations, func(o Toleration) bool {
		return o.Key == "" || o.Key == t.Key && (o.Value == "" || o.Value == t.Value)
	})
}
