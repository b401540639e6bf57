package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// field is one key, or one table, of a configuration.
type field struct {
	path  []string // of toml keys; the last is its own
	doc   string
	table bool
	value reflect.Value
}

func (f field) key() string { return strings.Join(f.path, ".") }

// env returns the variable of the field.
func (f field) env(prefix string) string {
	return prefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(f.key()))
}

// fieldsOf lists the fields of a struct in their order, keys of a table before
// its inner tables, as TOML wants it.
func fieldsOf(v reflect.Value, path []string) ([]field, error) {
	var keys, tables []field
	var errs []error
	for sf, fv := range v.Fields() {
		name := sf.Tag.Get("toml")
		if name == "-" || !sf.IsExported() {
			continue
		}
		f := field{path: append(slices.Clip(path), name), doc: sf.Tag.Get("doc"), value: fv}
		switch {
		case sf.Anonymous && name == "" && fv.Kind() == reflect.Struct:
			inner, err := fieldsOf(fv, path)
			keys = append(keys, inner...)
			errs = append(errs, err)
		case name == "", f.doc == "":
			errs = append(errs, fmt.Errorf("field %s of %s has no toml or no doc tag", sf.Name, v.Type()))
		case fv.Kind() == reflect.Struct && !isText(fv):
			inner, err := fieldsOf(fv, f.path)
			f.table = true
			tables = append(append(tables, f), inner...)
			errs = append(errs, err)
		case !settable(fv.Type()):
			errs = append(errs, fmt.Errorf("field %s of %s: type %s is not supported", sf.Name, v.Type(), fv.Type()))
		default:
			keys = append(keys, f)
		}
	}
	return append(keys, tables...), errors.Join(errs...)
}

func isText(v reflect.Value) bool {
	_, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	return ok
}

func settable(t reflect.Type) bool {
	k := t.Kind()
	switch {
	case isText(reflect.New(t).Elem()), k == reflect.String, k == reflect.Bool:
		return true
	case k == reflect.Slice:
		return t.Elem().Kind() != reflect.Slice && settable(t.Elem())
	}
	v := reflect.Zero(t)
	return v.CanInt() || v.CanUint() || v.CanFloat()
}

// set gives v the value that the text of a flag or a variable means.
func set(v reflect.Value, text string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	if v.Kind() == reflect.String {
		v.SetString(text)
		return nil
	}
	if v.Kind() == reflect.Slice {
		return setSlice(v, text)
	}
	if v.Kind() != reflect.Bool {
		return setNumber(v, text)
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", text)
	}
	v.SetBool(b)
	return nil
}

func setNumber(v reflect.Value, text string) (err error) {
	bits := v.Type().Bits()
	switch {
	case v.CanInt():
		var n int64
		n, err = strconv.ParseInt(text, 10, bits)
		v.SetInt(n)
	case v.CanUint():
		var n uint64
		n, err = strconv.ParseUint(text, 10, bits)
		v.SetUint(n)
	default:
		var n float64
		n, err = strconv.ParseFloat(text, bits)
		v.SetFloat(n)
	}
	if err != nil {
		return fmt.Errorf("%q is no number of type %s", text, v.Type())
	}
	return nil
}

func setSlice(v reflect.Value, text string) error {
	var parts []string
	if text != "" {
		parts = strings.Split(text, ",")
	}
	s := reflect.MakeSlice(v.Type(), len(parts), len(parts))
	for i, p := range parts {
		if err := set(s.Index(i), strings.TrimSpace(p)); err != nil {
			return err
		}
	}
	v.Set(s)
	return nil
}
