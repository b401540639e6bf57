package spec

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
)

// schemaID names the schema; the number is raised when old files are read otherwise.
const schemaID = "https://github.com/mosdocker/mosdocker/schema/set-1.json"

// Schema is the JSON Schema (2020-12) of a set's file. It knows the form of a set;
// rules that bind several keys are in [Set.Check] only.
func Schema() []byte {
	defs := map[string]any{}
	for _, s := range sections() {
		defs[s.of.Name()] = s.schema()
	}
	for _, v := range values() {
		defs[v.of.Name()] = v.schema
	}
	out := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     schemaID,
		"title":   "A set of containers of MosDocker",
		"$ref":    "#/$defs/Set",
		"$defs":   defs,
	}
	b, _ := json.MarshalIndent(out, "", "  ") // of maps and text
	return append(b, '\n')
}

func (s section) schema() map[string]any {
	properties := map[string]any{}
	required := []string{}
	for _, r := range s.keys {
		field, _ := s.of.FieldByName(r.name) // a test sees that all are there
		p := form(field.Type)
		p["description"] = r.help
		if r.standard == needed {
			required = append(required, r.name)
		} else {
			p["description"] = r.help + " Default: " + r.standard + "."
		}
		maps.Copy(p, r.more)
		properties[r.name] = p
	}
	if s.of == reflect.TypeFor[Set]() {
		properties["$schema"] = map[string]any{"type": "string", "description": "the schema, for editors."}
	}
	return map[string]any{
		"type": "object", "description": s.help, "properties": properties,
		"required": required, "additionalProperties": false,
	}
}

// value is a type that a file has as text or a number.
type value struct {
	of     reflect.Type
	doc    string
	schema map[string]any
}

func values() []value {
	either := func(kind, pattern string) map[string]any {
		return map[string]any{"anyOf": []any{
			map[string]any{"type": kind, "minimum": 0},
			map[string]any{"type": "string", "pattern": pattern},
		}}
	}
	choice := func(of ...string) map[string]any { return map[string]any{"enum": of} }
	return []value{
		{reflect.TypeFor[Cores](), "cores", either("number", "^[0-9]+(\\.[0-9]+)?m?$")},
		{reflect.TypeFor[Bytes](), "size", either("integer", "^[0-9]+(\\.[0-9]+)?[kKmMgGtTpP]?([iI]?[bB])?$")},
		{reflect.TypeFor[Duration](), "time", map[string]any{"type": "string", "pattern": "^(0|([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$"}},
		{reflect.TypeFor[MountType](), "text", choice("", string(MountSet), string(MountBind), string(MountVolume), string(MountTmpfs))},
		{reflect.TypeFor[Condition](), "text", choice("", string(Started), string(Healthy), string(Completed))},
		{reflect.TypeFor[Strategy](), "text", choice("", string(Overlap), string(Swap), string(Restart))},
	}
}

// form is the schema of a value of type t.
func form(t reflect.Type) map[string]any {
	for _, v := range values() {
		if v.of == t {
			return map[string]any{"$ref": "#/$defs/" + t.Name()}
		}
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return form(t.Elem())
	case t.Kind() == reflect.Struct:
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "items": form(t.Elem())}
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": form(t.Elem())}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Kind() == reflect.Int:
		return map[string]any{"type": "integer"}
	case t.Kind() == reflect.Float64:
		return map[string]any{"type": "number"}
	}
	return map[string]any{"type": "string"}
}

// Doc is docs/set-spec.md, printed from the table that [Schema] is made from.
func Doc() string {
	var b strings.Builder
	b.WriteString(docHead)
	for _, s := range sections() {
		b.WriteString("\n## " + s.of.Name() + "\n\n" + s.help + "\n\n| key | value | default | meaning |\n|---|---|---|---|\n")
		for _, r := range s.keys {
			field, _ := s.of.FieldByName(r.name)
			for _, cell := range []string{"`" + r.name + "`", shown(field.Type), r.standard, r.help} {
				b.WriteString("| " + strings.ReplaceAll(cell, "|", "\\|") + " ")
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

const docHead = `# The file of a set

Printed from the table in ` + "`setmgr/spec/keys.go`" + `; a test keeps it in step. ` + "`docker set schema`" + ` prints
the same as JSON Schema, which editors read when the file names it as ` + "`$schema`" + `, and
` + "`docker set validate FILE`" + ` checks a file without an Engine.

A file is JSON, or YAML without aliases, merges and tags. Keys are written to the letter,
and what is not known is refused. A *size* is a number of bytes, or text as "512m", "8g" or
"1.5g" (of 1024). *Cores* are a number with three digits behind the point at most, or text
as "1.5" or "1500m". A *time* is text as "30s" or "1m30s". Empty lists and texts are as if
they were not there; so is 0, where it is taken.

The whole set shares one network, one IPC and one host name. What docker run would ignore
on a container that shares them (ports, host name, DNS, hosts, addresses, sysctls, size of
/dev/shm) stands at the top of the set.

What binds several keys, checked when the file is read and before a resize:

- CPU and Cores of the containers are at most 100 percent of the set in all, but with
  Overcommit; MEM and Memory are so in any case. Percents need a total to be of, and a
  container has either percents or an absolute limit.
- A container waits for others of its own Index or lower ones, without rings: healthy for
  one with Health or Ready, completed for one with Once, which has no Restart but no.
- The networks none and host have no addresses, aliases, ports and further networks, host
  no net.* of its own; the Engine's own bridge gives no fixed addresses and aliases.
- One path of a container has one mount, one port of the host one of Ports. Only a tmpfs has
  a Size, only the set's volume a Subpath, only a volume of mos-lvm a Size.
- With PID, the infra container reaps processes, and no container has Init.
`

// shown is the form of a value of type t, for people.
func shown(t reflect.Type) string {
	for _, v := range values() {
		if v.of == t {
			return v.doc
		}
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return shown(t.Elem())
	case t.Kind() == reflect.Struct:
		return "[" + t.Name() + "](#" + strings.ToLower(t.Name()) + ")"
	case t.Kind() == reflect.Slice:
		return "list of " + shown(t.Elem())
	case t.Kind() == reflect.Map:
		return "object of " + shown(t.Elem())
	case t.Kind() == reflect.Bool:
		return string(boolean)
	case t.Kind() == reflect.Int:
		return "whole number"
	case t.Kind() == reflect.Float64:
		return "number"
	}
	return "text"
}
