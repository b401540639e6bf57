package read

import (
	"bytes"

	"github.com/mosdocker/mosdocker/agent/metric"
)

// field is a line "key number" of a file.
type field struct {
	key string
	id  metric.ID
	per float64 // what of it makes one of the metric's unit
}

// fields gives the metrics of a table of fields their values. The kernel writes
// lines in one order, so a table in that order is passed through once.
func fields(s *Source, data []byte, table []field) {
	next := 0
	for left := len(table); len(data) > 0 && left > 0; {
		var line []byte
		line, data = cut(data, '\n')
		key, rest := cut(line, ' ')
		for i := range table {
			f := &table[(next+i)%len(table)]
			if string(key) != f.key {
				continue
			}
			if v, _, ok := number(rest); ok {
				s.Point.Set(f.id, float64(v)/f.per)
			}
			next = (next+i)%len(table) + 1
			left--
			break
		}
	}
}

// cut splits data at the first sep, which is in neither part.
func cut(data []byte, sep byte) (before, after []byte) {
	if i := bytes.IndexByte(data, sep); i >= 0 {
		return data[:i], data[i+1:]
	}
	return data, nil
}

// number reads the decimal number at the beginning, behind blanks. A number above
// 64 bits is none.
func number(data []byte) (v uint64, rest []byte, ok bool) {
	i := 0
	for i < len(data) && (data[i] == ' ' || data[i] == '\t') {
		i++
	}
	first := i
	for ; i < len(data) && '0' <= data[i] && data[i] <= '9'; i++ {
		d := uint64(data[i] - '0')
		if v > (1<<64-1-d)/10 {
			return 0, data, false
		}
		v = v*10 + d
	}
	return v, data[i:], i > first
}

// whole is the number that is all of a line.
func whole(data []byte) (v uint64, ok bool) {
	v, rest, ok := number(data)
	return v, ok && (len(rest) == 0 || rest[0] == '\n')
}

// word takes the next word of a line.
func word(line []byte) (w, rest []byte) {
	i := 0
	for i < len(line) && line[i] == ' ' {
		i++
	}
	return cut(line[i:], ' ')
}

// single is a file of one number.
func single(id metric.ID, per float64) func(*Source, []byte) {
	return func(s *Source, data []byte) {
		if v, ok := whole(data); ok {
			s.Point.Set(id, float64(v)/per)
		}
	}
}

// add is a file of one number that counts more of what another counted.
func add(id metric.ID) func(*Source, []byte) {
	return func(s *Source, data []byte) {
		if v, ok := whole(data); ok {
			s.sum(id, v, true)
		}
	}
}

// sum sets a value, or adds to what was set in this sample.
func (s *Source) sum(id metric.ID, v uint64, more bool) {
	old, ok := s.Point.Get(id)
	if !more || !ok {
		old = 0
	}
	s.Point.Set(id, old+float64(v))
}

// unlimited is where version 1 says that memory has no limit: the highest number
// of whole pages.
const unlimited = 1 << 62

// limit is a file with a limit, which may be "max" or too high to be one.
func limit(id metric.ID) func(*Source, []byte) {
	return func(s *Source, data []byte) {
		if v, ok := whole(data); ok && v < unlimited {
			s.Point.Set(id, float64(v))
		}
	}
}

// pressure is a file of pressure stall information.
func pressure(some, full metric.ID) func(*Source, []byte) {
	return func(s *Source, data []byte) {
		for len(data) > 0 {
			var line []byte
			line, data = cut(data, '\n')
			_, after, ok := bytes.Cut(line, []byte("total="))
			if !ok {
				continue
			}
			v, _, ok := number(after)
			switch {
			case !ok:
			case line[0] == 's' && some != full:
				s.Point.Set(some, float64(v)/micro)
			case line[0] == 'f':
				s.Point.Set(full, float64(v)/micro)
			}
		}
	}
}

// How many make one of the unit of a metric.
const (
	nano  = 1e9
	micro = 1e6
	milli = 1e3
	tick  = 100 // USER_HZ on all that Linux runs on
)
