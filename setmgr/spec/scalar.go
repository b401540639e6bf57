package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// String is the amount as docker run --cpus takes it.
func (c Cores) String() string { return strconv.FormatFloat(float64(c), 'f', -1, 64) }

// String is the size in the largest unit that holds it whole, as "512m".
func (b Bytes) String() string {
	unit := ""
	for _, u := range []string{"k", "m", "g", "t"} {
		if b == 0 || b%1024 != 0 {
			break
		}
		b, unit = b/1024, u
	}
	return strconv.FormatUint(uint64(b), 10) + unit
}

// String is the time without units that are zero, as "5m".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

const digits = "0123456789"

// decimal says whether s is digits with at most one point between.
func decimal(s string) bool {
	whole, part, point := strings.Cut(s, ".")
	return whole != "" && strings.Trim(whole+part, digits) == "" && (part != "" || !point)
}

// readNumber takes the notation of JSON only, also in YAML, where 010 is 8 and
// 0x10 is 16.
func readNumber(n *node) (float64, error) {
	if !json.Valid([]byte(n.text)) {
		return 0, fmt.Errorf("%.40q is no decimal number: write it with digits and a point only", n.text)
	}
	v, err := strconv.ParseFloat(n.text, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40s is more than can be counted", n.text)
	}
	return v, nil
}

func readCores(n *node) (Cores, error) {
	if n.kind == number {
		v, err := readNumber(n)
		return Cores(v), err
	}
	milli, is := strings.CutSuffix(n.text, "m")
	if n.kind != text || !decimal(milli) {
		return 0, fmt.Errorf(`want cores such as 1.5 or "1500m", not %s`, n.said())
	}
	v, err := strconv.ParseFloat(milli, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is more than can be counted", n.text)
	}
	if is {
		v /= 1000
	}
	return Cores(v), nil
}

func readBytes(n *node) (Bytes, error) {
	wrong := fmt.Errorf(`want a size such as "512m", "8g" or 1073741824, not %s`, n.said())
	if n.kind != number && n.kind != text || n.text == "" || strings.Trim(n.text[:1], digits) != "" || strings.ContainsAny(n.text, " _") {
		return 0, wrong
	}
	if v, err := strconv.ParseUint(n.text, 10, 63); err == nil && (n.text[0] != '0' || v == 0) {
		return Bytes(v), nil
	}
	unit := strings.TrimLeft(n.text, digits+".")
	v, err := units.RAMInBytes(n.text)
	switch {
	case n.kind == number || !decimal(strings.TrimSuffix(n.text, unit)) || strings.ContainsAny(unit, digits) || err != nil:
		return 0, wrong
	case v < 0 || v == math.MaxInt64: // what does not fit wraps round, or stays at the edge
		return 0, fmt.Errorf("%.40s is more than any machine has", n.text)
	}
	return Bytes(v), nil
}

func readDuration(n *node) (Duration, error) {
	d, err := time.ParseDuration(n.text)
	if n.kind != text || err != nil {
		return 0, fmt.Errorf(`want a time such as "30s" or "1m30s", not %s`, n.said())
	}
	return Duration(d), nil
}

// readPercent tells 0 from nothing, which the type cannot.
func readPercent(n *node) (float64, error) {
	if n.kind != number {
		return 0, fmt.Errorf("want percents of the set as a number such as 80, not %s", n.said())
	}
	v, err := readNumber(n)
	if err == nil && v == 0 {
		return 0, errors.New("0 is no share: leave it out for no limit but the set's")
	}
	return v, err
}

func readInt(n *node) (int, error) {
	v, err := strconv.ParseInt(n.text, 10, 32)
	if n.kind != number || err != nil || !json.Valid([]byte(n.text)) {
		return 0, fmt.Errorf("want a whole number, not %s", n.said())
	}
	return int(v), nil
}

// said is what stands in the file, for a sentence.
func (n *node) said() string {
	switch n.kind {
	case text:
		return strconv.Quote(short(n.text))
	case number:
		return short(n.text)
	case object, list, boolean, null:
	}
	return string(n.kind)
}
