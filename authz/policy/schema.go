package policy

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Schema is the JSON schema of a policy file, which editors of TOML take too.
func Schema() string {
	s := schemaOf(reflect.TypeFor[file]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Policy of mos-authz"
	s["required"] = []string{"version", "who"}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // maps and strings can be encoded
	}
	return string(text) + "\n"
}

func schemaOf(t reflect.Type) map[string]any {
	switch t.Kind() { //nolint:exhaustive // a policy has no others, but strings
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Struct:
		props := map[string]any{}
		for f := range t.Fields() {
			name := f.Tag.Get("toml")
			if name == "" {
				continue
			}
			p := schemaOf(f.Type)
			p["description"] = f.Tag.Get("doc")
			props[name] = p
		}
		return map[string]any{"type": "object", "properties": props, "additionalProperties": false}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint32:
		return map[string]any{"type": "integer"}
	}
	if t == reflect.TypeFor[Mode]() {
		return map[string]any{"enum": []Mode{Enforce, Warn, Audit}}
	}
	return map[string]any{"type": "string"}
}

// Reference lists the keys of a policy file, as tables for its documentation.
func Reference() string {
	var b strings.Builder
	for _, part := range []struct {
		title string
		of    reflect.Type
	}{
		{"The file", reflect.TypeFor[file]()},
		{"`[[who]]`", reflect.TypeFor[Subject]()},
		{"`[profile.NAME]`", reflect.TypeFor[fileProfile]()},
		{"`[[profile.NAME.rule]]`", reflect.TypeFor[Rule]()},
		{"`[profile.NAME.limits]`", reflect.TypeFor[Limits]()},
	} {
		b.WriteString("\n" + part.title + ":\n\n| key | |\n|---|---|\n")
		for f := range part.of.Fields() {
			if name := f.Tag.Get("toml"); name != "" {
				b.WriteString("| `" + name + "` | " + strings.ReplaceAll(f.Tag.Get("doc"), "|", "\\|") + " |\n")
			}
		}
	}
	return b.String()
}
