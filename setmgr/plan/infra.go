package plan

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// infraDiff names what of a set's spec is another than that of its infra
// container, and cannot change while that lives.
func infraDiff(s spec.Set, o Observed) []string {
	if o.Infra == nil || o.Infra.Hash == spec.HashSet(s) {
		return nil
	}
	s.Containers = nil
	data, err := spec.Marshal(&s)
	if err != nil {
		return []string{"specification"}
	}
	var want, have map[string]json.RawMessage
	if json.Unmarshal(data, &want) != nil || json.Unmarshal([]byte(o.Infra.Spec), &have) != nil {
		return []string{"specification"}
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(merged(want, have))) {
		switch key {
		case "CPU", "MEM", "Overcommit":
			continue
		case "Volume":
			if sameVolume(want[key], have[key]) {
				continue
			}
		}
		if string(want[key]) != string(have[key]) {
			out = append(out, key)
		}
	}
	if len(out) == 0 {
		return []string{"form of its specification"}
	}
	return out
}

func merged(a, b map[string]json.RawMessage) map[string]json.RawMessage {
	out := maps.Clone(a)
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
