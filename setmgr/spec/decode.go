package spec

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
)

// Decode reads the file of a set, JSON or YAML, and checks it. Keys are those of the
// fields, to the letter; what is not known is refused. The error, of class
// InvalidArgument, has a line for each thing that is wrong, with its place.
func Decode(file string, data []byte) (*Set, error) {
	f := &flaws{places: map[string]place{}}
	s := &Set{}
	if !f.read(data, s) {
		return nil, f.err(file)
	}
	checked := flaws{places: f.places}
	checked.set(s)
	f.unlessNear(checked.list)
	if err := f.err(file); err != nil {
		return nil, err
	}
	return s, nil
}

// DecodePart reads what [Marshal] wrote of a set, which may lack its containers. It
// checks the form only, since labels outlive the rules of a release.
func DecodePart(data string) (Set, error) {
	f := &flaws{places: map[string]place{}}
	var s Set
	f.read([]byte(data), &s)
	return s, f.err("set")
}

// DecodeContainer reads what [MarshalContainer] wrote. It checks the form only.
func DecodeContainer(data string) (Container, error) {
	f := &flaws{places: map[string]place{}}
	var c Container
	f.read([]byte(data), &c)
	return c, f.err("container")
}

// read fills what v points to. It is false when the data is of neither notation.
func (f *flaws) read(data []byte, v any) bool {
	read := readYAML
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		read = readJSON
	}
	n, bad := read(data)
	if bad != nil {
		f.list = append(f.list, *bad)
		return false
	}
	f.value(n, reflect.ValueOf(v).Elem(), "")
	return true
}

// value fills v, which is at path, with what n says.
func (f *flaws) value(n *node, v reflect.Value, path string) {
	f.places[path] = n.at
	if n.kind == null {
		f.add(path, "it is empty: give it a value, or leave the key out")
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *Cores:
		fill(f, path, p, n, readCores)
		return
	case *Bytes:
		fill(f, path, p, n, readBytes)
		return
	case *Duration:
		fill(f, path, p, n, readDuration)
		return
	case *float64:
		fill(f, path, p, n, readPercent)
		return
	case *int:
		fill(f, path, p, n, readInt)
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.value(n, v.Elem(), path)
	case v.Kind() == reflect.Struct:
		f.object(n, v, path)
	case v.Kind() == reflect.Slice:
		f.listOf(n, v, path)
	case v.Kind() == reflect.Map:
		f.mapOf(n, v, path)
	case v.Kind() == reflect.Bool:
		if f.is(n, boolean, path) {
			v.SetBool(n.text == "true")
		}
	default:
		if f.is(n, text, path) {
			v.SetString(n.text)
		}
	}
}

func fill[T any](f *flaws, path string, to *T, n *node, read func(*node) (T, error)) {
	v, err := read(n)
	if err != nil {
		f.add(path, "%s", err.Error())
		return
	}
	*to = v
}

// is says whether n is of the kind that is wanted, and that it is not.
func (f *flaws) is(n *node, want kind, path string) bool {
	if n.kind == want {
		return true
	}
	advice := ""
	switch {
	case want == text && (n.kind == number || n.kind == boolean):
		advice = ": write " + strconv.Quote(n.text)
	case want == boolean && n.kind == text:
		advice = ": write it without quotes"
	case want == list && n.kind == text:
		advice = ": write [" + strconv.Quote(short(n.text)) + "]"
	}
	f.add(path, "want %s, not %s%s", want, n.kind, advice)
	return false
}

func short(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

// keys calls each for the keys of an object, but for doubled ones.
func (f *flaws) keys(n *node, path string, each func(key, item *node, at string)) {
	seen := map[string]place{}
	for i, k := range n.keys {
		at := join(path, k.text)
		if first, ok := seen[k.text]; ok {
			f.list = append(f.list, flaw{k.at, at, "the key stands here again, first in line " + strconv.Itoa(first.line) + ": drop one"})
			continue
		}
		seen[k.text] = k.at
		each(k, n.items[i], at)
	}
}

func (f *flaws) object(n *node, v reflect.Value, path string) {
	if !f.is(n, object, path) {
		return
	}
	f.keys(n, path, func(key, item *node, at string) {
		if field := v.FieldByName(key.text); field.IsValid() {
			f.value(item, field, at)
			return
		}
		if key.text == "$schema" && path == "" {
			f.is(item, text, at) // which editors read
			return
		}
		f.list = append(f.list, flaw{key.at, at, unknown(v.Type(), key.text)})
	})
}

func (f *flaws) listOf(n *node, v reflect.Value, path string) {
	if !f.is(n, list, path) || len(n.items) == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		f.value(item, v.Index(i), path+"/"+strconv.Itoa(i))
	}
}

func (f *flaws) mapOf(n *node, v reflect.Value, path string) {
	if !f.is(n, object, path) || len(n.items) == 0 {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	f.keys(n, path, func(key, item *node, at string) {
		value := reflect.New(v.Type().Elem()).Elem()
		f.value(item, value, at)
		v.SetMapIndex(reflect.ValueOf(key.text), value)
	})
}
