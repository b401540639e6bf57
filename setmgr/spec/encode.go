package spec

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Marshal writes a set as compact JSON, in the order of the fields and without those
// that are zero. [Decode] reads it.
func Marshal(s *Set) ([]byte, error) { return encode(nil, reflect.ValueOf(s), false) }

// MarshalContainer writes a container in the same form.
func MarshalContainer(c *Container) ([]byte, error) { return encode(nil, reflect.ValueOf(c), false) }

// encode appends v to out. Sorted puts the keys of objects in the order of their
// names, which stays when fields are moved.
func encode(out []byte, v reflect.Value, sorted bool) ([]byte, error) {
	switch x := v.Interface().(type) {
	case Bytes:
		if s := x.String(); strings.Trim(s, digits) != "" {
			return jsontext.AppendQuote(out, s)
		}
		return strconv.AppendUint(out, uint64(x), 10), nil
	case Duration:
		return jsontext.AppendQuote(out, x.String())
	}
	switch {
	case v.Kind() == reflect.Pointer:
		return encode(out, v.Elem(), sorted)
	case v.Kind() == reflect.Struct:
		return encodeStruct(out, v, sorted)
	case v.Kind() == reflect.Map:
		return encodeMap(out, v)
	case v.Kind() == reflect.Slice:
		return encodeSlice(out, v, sorted)
	case v.Kind() == reflect.String:
		return jsontext.AppendQuote(out, v.String())
	case v.Kind() == reflect.Bool:
		return strconv.AppendBool(out, v.Bool()), nil
	case v.Kind() == reflect.Int:
		return strconv.AppendInt(out, v.Int(), 10), nil
	case v.Kind() == reflect.Float64:
		if x := v.Float(); !math.IsNaN(x) && !math.IsInf(x, 0) {
			return strconv.AppendFloat(out, x, 'f', -1, 64), nil
		}
	}
	return out, fmt.Errorf("%v of type %s cannot be written", v, v.Type())
}

func encodeStruct(out []byte, v reflect.Value, sorted bool) (_ []byte, err error) {
	var names []string
	for f := range v.Type().Fields() {
		if !empty(v.FieldByIndex(f.Index)) {
			names = append(names, f.Name)
		}
	}
	if sorted {
		slices.Sort(names)
	}
	out = append(out, '{')
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(strconv.AppendQuote(out, name), ':')
		if out, err = encode(out, v.FieldByName(name), sorted); err != nil {
			return out, err
		}
	}
	return append(out, '}'), nil
}

// encodeMap writes one of text, which all ours are.
func encodeMap(out []byte, v reflect.Value) (_ []byte, err error) {
	m, ok := reflect.TypeAssert[map[string]string](v)
	if !ok {
		return out, fmt.Errorf("type %s cannot be written", v.Type())
	}
	out = append(out, '{')
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = jsontext.AppendQuote(out, key); err != nil {
			return out, err
		}
		if out, err = jsontext.AppendQuote(append(out, ':'), m[key]); err != nil {
			return out, err
		}
	}
	return append(out, '}'), nil
}

func encodeSlice(out []byte, v reflect.Value, sorted bool) (_ []byte, err error) {
	out = append(out, '[')
	for i := range v.Len() {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = encode(out, v.Index(i), sorted); err != nil {
			return out, err
		}
	}
	return append(out, ']'), nil
}

// empty says whether v says nothing. What a pointer points to always says something.
func empty(v reflect.Value) bool {
	switch {
	case v.Kind() == reflect.Slice, v.Kind() == reflect.Map:
		return v.Len() == 0
	case v.Kind() == reflect.Struct:
		for _, field := range v.Fields() {
			if !empty(field) {
				return false
			}
		}
		return true
	}
	return v.IsZero()
}
