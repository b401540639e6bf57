package server

import (
	"bytes"
	"encoding/json"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// patch is a merge patch (RFC 7396) of what users may say.
type patch map[string]any

func parsePatch(body []byte) (patch, error) {
	var p patch
	if err := number(body, &p); err != nil {
		return nil, fault.Invalid("the patch is no JSON object: %w", err)
	}
	if len(p) == 0 {
		return nil, fault.Invalid("the patch changes nothing: name members of spec or labels")
	}
	for key := range p {
		if key != "spec" && key != "labels" {
			return nil, fault.Invalid("%.60s: only spec and labels can be patched", key)
		}
	}
	return p, nil
}

// number reads JSON, and keeps numbers as they are written.
func number(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(to); err != nil {
		return err
	}
	if d.More() {
		return fault.Invalid("there is more after the value")
	}
	return nil
}

// apply gives the document with the patch in it.
func (p patch) apply(data []byte) ([]byte, error) {
	var to map[string]any
	if err := number(data, &to); err != nil {
		return nil, err
	}
	return json.Marshal(merged(to, map[string]any(p)))
}

func merged(to, p any) any {
	change, ok := p.(map[string]any)
	if !ok {
		return p
	}
	out, ok := to.(map[string]any)
	if !ok {
		out = map[string]any{}
	}
	for key, value := range change {
		if value == nil {
			delete(out, key)
			continue
		}
		out[key] = merged(out[key], value)
	}
	return out
}
