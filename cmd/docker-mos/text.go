package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// rate is a limit in bits per second as docker's users write it.
func rate(bits uint64) string {
	if bits == 0 {
		return "-"
	}
	return spec.Rate(bits).String()
}

// rates is both limits, or one dash for none.
func rates(in, out uint64) string {
	if in == 0 && out == 0 {
		return "-"
	}
	return rate(in) + " / " + rate(out)
}

// size is bytes as docker stats prints them.
func size(bytes uint64) string { return units.HumanSizeWithPrecision(float64(bytes), 3) }

// ago is a time in docker's words.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return units.HumanDuration(time.Since(t)) + " ago"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func words[T fmt.Stringer](list []T) string {
	var s []string
	for _, x := range list {
		s = append(s, x.String())
	}
	return dash(strings.Join(s, ", "))
}

// sameRef says whether a reference as a user gives it, a name or the beginning
// of an id, means the object.
func sameRef(ref, name, id string) bool {
	return ref != "" && (ref == name || strings.HasPrefix(id, ref))
}

func hasAddr(list []netip.Addr, s string) bool {
	for _, a := range list {
		if a.String() == s {
			return true
		}
	}
	return false
}
