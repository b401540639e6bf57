package spec

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestHashesStay: containers that run carry the hashes of older releases, and one
// that differs replaces its container. These never change.
func TestHashesStay(t *testing.T) {
	s, err := Decode("shop.yaml", files(t, "examples")["shop.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"set": HashSet(*s), "empty": HashSet(Set{})}
	for _, c := range s.Containers {
		got[c.Name] = HashContainer(c)
	}
	want := map[string]string{
		"set":     "dce5c9fb7a0dac10c46537d4be7d7e07",
		"empty":   "44136fa355b3678a1146ad16f7e8649e",
		"migrate": "ef66b45af97e1d335bd0b589b1de2ded",
		"app":     "bf9e03ba54684340a1f82ab76f2249f1",
		"proxy":   "37e1e0e098f7ce497822d950ffa2dc6a",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestHashSeesWhatMatters changes each field of a container and of a set once.
func TestHashSeesWhatMatters(t *testing.T) {
	without := map[string]bool{
		"Set.CPU": true, "Set.MEM": true, "Set.Overcommit": true, "Set.Cgroup": true, "Set.Containers": true, "Volume.Size": true,
		"Options.CPU": true, "Options.MEM": true, "Options.Cores": true, "Options.Memory": true, "Options.EnvFiles": true,
		"Options.Update": true, "Update.Strategy": true, "Update.MinReady": true, "Update.Deadline": true,
	}
	var s Set
	was := HashSet(s)
	eachField(reflect.ValueOf(&s).Elem(), func(name string, v reflect.Value) {
		if name == "Volume.Size" {
			s.Volume.Size = 0
			was = HashSet(s)
		}
		fillIn(v)
		if changed := HashSet(s) != was; changed == without[name] {
			t.Errorf("%s: the hash changed: %v", name, changed)
		}
		was = HashSet(s)
	})
	var c Container
	was = HashContainer(c)
	eachField(reflect.ValueOf(&c).Elem(), func(name string, v reflect.Value) {
		fillIn(v)
		if changed := HashContainer(c) != was; changed == without[name] {
			t.Errorf("%s: the hash changed: %v", name, changed)
		}
		was = HashContainer(c)
	})
	v := &Volume{Size: 5}
	if HashSet(Set{Volume: v}); v.Size != 5 {
		t.Error("hashing changed what it hashed")
	}
}

// eachField calls f for fields that have no others in them, or may be nil.
func eachField(v reflect.Value, f func(name string, v reflect.Value)) {
	for field, value := range v.Fields() {
		name := v.Type().Name() + "." + field.Name
		if value.Kind() != reflect.Struct {
			f(name, value)
		}
		if value.Kind() == reflect.Pointer && value.Type().Elem().Kind() == reflect.Struct {
			value = value.Elem()
		}
		if value.Kind() == reflect.Struct {
			eachField(value, f)
		}
	}
}

// fillIn gives v a value that is not zero. The infinite depth of types is cut, since
// there is none.
func fillIn(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *Duration:
		*x = Duration(time.Second)
		return
	case *map[string]string:
		*x = map[string]string{"k": "v"}
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if v.Elem().Kind() != reflect.Struct {
			fillIn(v.Elem())
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case v.Kind() == reflect.String:
		v.SetString("text")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.Int:
		v.SetInt(7)
	case v.Kind() == reflect.Uint64:
		v.SetUint(7)
	default:
		v.SetFloat(7)
	}
}

// TestHashHasNoOrder: it is of what is said, not of where fields stand in a type.
func TestHashHasNoOrder(t *testing.T) {
	type one struct {
		A, B string
		C    []string
	}
	type other struct {
		C       []string
		B, A, D string
	}
	if Hash(one{"a", "b", nil}) != Hash(other{A: "a", B: "b", C: []string{}}) {
		t.Error("the order of fields, or an empty one, changes the hash")
	}
}
