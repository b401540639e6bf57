package request

import (
	"encoding/json"
	"slices"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// filters reads the parameter of that name, in the form of today and in the older
// one with lists.
func filters(text string) (map[string][]string, error) {
	if text == "" {
		return nil, nil
	}
	if err := well([]byte(text)); err != nil {
		return nil, fault.Invalid("filters: %w", err)
	}
	var today map[string]map[string]bool
	if json.Unmarshal([]byte(text), &today) == nil {
		out := map[string][]string{}
		for k, vs := range today {
			for v, on := range vs {
				if on { // Engines do not agree on what false means
					out[k] = append(out[k], v)
				}
			}
			slices.Sort(out[k])
		}
		return out, nil
	}
	var older map[string][]string
	if err := json.Unmarshal([]byte(text), &older); err != nil {
		return nil, fault.Invalid("filters are no object of objects: %w", err)
	}
	return older, nil
}

// Filtered is the parameter filters with one more condition.
func Filtered(has map[string][]string, key, value string) string {
	out := map[string]map[string]bool{}
	for k, vs := range has {
		out[k] = map[string]bool{}
		for _, v := range vs {
			out[k][v] = true
		}
	}
	if out[key] == nil {
		out[key] = map[string]bool{}
	}
	out[key][value] = true
	b, _ := json.Marshal(out) //nolint:errchkjson // strings can be encoded
	return string(b)
}
