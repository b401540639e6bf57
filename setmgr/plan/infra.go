package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// infraDiff names what of a set's spec is another than that of its infra
// container, and cannot change while that lives.
func infraDiff(s spec.Set, o Observed) []string {
	if o.Infra == nil {
		return nil
	}
	var out []string
	if o.Infra.Limits.MEM > 0 && s.MEM == 0 {
		out = append(out, "MEM: a limit can change, but not be taken off")
	}
	if o.Infra.Hash != spec.HashSet(s) {
		out = append(out, hashDiff(s, o)...)
	}
	return out
}

// cgroupDiff says how a set that is there comes to the Cgroup of its spec, "" when it was
// made with it. The label of its infra, by which mosd goes, stays what it is.
func cgroupDiff(s spec.Set, o Observed) string {
	old, err := Spec(o, s.Name)
	if err != nil || maps.Equal(old.Cgroup, s.Cgroup) {
		return ""
	}
	command, gone := "", ""
	for _, name := range slices.Sorted(maps.Keys(merged(old.Cgroup, s.Cgroup))) {
		switch value, there := s.Cgroup[name]; {
		case !there:
			gone += " " + name
		case old.Cgroup[name] != value:
			command += fmt.Sprintf(" %q", name+"="+value)
		}
	}
	text := fmt.Sprintf("the new Cgroup of set %s counts when it is made anew (docker set up --recreate)", s.Name)
	if command != "" {
		text += ": docker mos cgroup set set/" + s.Name + command + " changes it now"
	}
	if gone != "" {
		text += ";" + gone + " stays until then"
	}
	return text
}

// hashDiff names what makes the hash of an infra container another, at least one
// word.
func hashDiff(s spec.Set, o Observed) []string {
	s.Containers = nil
	data, err := spec.Marshal(&s)
	if err != nil {
		return []string{"specification"}
	}
	out := keysThatDiffer(string(data), o.Infra.Spec, func(key string, want, have json.RawMessage) bool {
		switch key {
		case "CPU", "MEM", "Overcommit", "Cgroup":
			return true
		case "Volume":
			return sameVolume(want, have)
		}
		return false
	})
	if len(out) == 0 {
		return []string{"specification"}
	}
	return out
}

// memberDiff names what of a container's spec is another than that of a container
// that was made of it.
func memberDiff(have Container, c spec.Container) []string {
	data, err := spec.MarshalContainer(&c)
	if err != nil {
		return []string{"specification"}
	}
	type part struct {
		Options json.RawMessage `json:"Options"`
	}
	var want, old part
	if json.Unmarshal(data, &want) != nil || json.Unmarshal([]byte(have.Spec), &old) != nil {
		return []string{"specification"}
	}
	online := func(key string, _, _ json.RawMessage) bool {
		return slices.Contains([]string{"CPU", "MEM", "Cores", "Memory", "Update"}, key)
	}
	out := keysThatDiffer(string(want.Options), string(old.Options), online)
	if len(out) == 0 {
		out = keysThatDiffer(string(data), have.Spec, func(string, json.RawMessage, json.RawMessage) bool { return false })
	}
	return out
}

// keysThatDiffer compares two JSON objects but for what same lets through.
func keysThatDiffer(a, b string, same func(key string, a, b json.RawMessage) bool) []string {
	var want, have map[string]json.RawMessage
	if a == "" {
		a = "{}"
	}
	if b == "" {
		b = "{}"
	}
	if json.Unmarshal([]byte(a), &want) != nil || json.Unmarshal([]byte(b), &have) != nil {
		return []string{"specification"}
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(merged(want, have))) {
		if string(want[key]) != string(have[key]) && !same(key, want[key], have[key]) {
			out = append(out, key)
		}
	}
	return out
}

func merged[V any](a, b map[string]V) map[string]V {
	out := map[string]V{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// sameVolume compares volumes but for their size, which changes online.
func sameVolume(a, b json.RawMessage) bool {
	var x, y map[string]any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	delete(x, "Size")
	delete(y, "Size")
	p, _ := json.Marshal(x) // of what was decoded
	q, _ := json.Marshal(y)
	return string(p) == string(q)
}
