package spec

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mosdocker/mosdocker/internal/testx"
)

func files(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	out, err := testdata(folder)
	if err != nil || len(out) == 0 {
		t.Fatal(out, err)
	}
	return out
}

func testdata(folder string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, ext := range []string{"*.json", "*.yaml"} {
		names, err := filepath.Glob(filepath.Join("testdata", folder, ext))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			out[filepath.Base(name)] = data
		}
	}
	return out, nil
}

func compiled(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		tb.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaID, doc); err != nil {
		tb.Fatal(err)
	}
	s, err := c.Compile(schemaID)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// plain is a file as a judge that knows JSON only wants it.
func plain(n *node) any {
	switch n.kind {
	case object:
		m := map[string]any{}
		for i, k := range n.keys {
			m[k.text] = plain(n.items[i])
		}
		return m
	case list:
		l := []any{}
		for _, i := range n.items {
			l = append(l, plain(i))
		}
		return l
	case number:
		return json.Number(n.text)
	case boolean:
		return n.text == "true"
	case null:
		return nil
	case text:
	}
	return n.text
}

// fataler is what testing.TB and rapid.T have.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func parsed(tb fataler, data []byte) any {
	tb.Helper()
	read := readYAML
	if data[0] == '{' {
		read = readJSON
	}
	n, bad := read(data)
	if bad != nil {
		tb.Fatal(bad.text)
	}
	return plain(n)
}

// TestExamples: the schema, the decoder and the writer agree about what is well.
func TestExamples(t *testing.T) {
	schema := compiled(t)
	for name, data := range files(t, "examples") {
		s, err := Decode(name, data)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if err := schema.Validate(parsed(t, data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		compact, err := Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(name, compact)
		if d := cmp.Diff(s, again); err != nil || d != "" {
			t.Errorf("%s: %v %s", compact, err, d)
		}
		if err := schema.Validate(parsed(t, compact)); err != nil {
			t.Errorf("%s: %v", compact, err)
		}
		testx.Golden(t, "examples/"+name+".golden", string(compact)+"\n")
	}
}

// TestInvalid: what cannot be meant is refused with all that is wrong.
func TestInvalid(t *testing.T) {
	for name, data := range files(t, "invalid") {
		s, err := Decode(name, data)
		if !errdefs.IsInvalidArgument(err) || s != nil {
			t.Errorf("%s: got %v, %v, want an error of class invalid argument only", name, s, err)
			continue
		}
		testx.Golden(t, "invalid/"+name+".golden", err.Error()+"\n")
	}
}

// TestSchemaRefuses: the schema is not one that takes everything.
func TestSchemaRefuses(t *testing.T) {
	schema := compiled(t)
	for name, data := range files(t, "invalid") {
		switch strings.TrimSuffix(strings.TrimSuffix(name, ".json"), ".yaml") {
		case "docker", "letters", "types", "numbers", "list", "many":
			if schema.Validate(parsed(t, data)) == nil {
				t.Errorf("the schema takes %s", name)
			}
		}
	}
}

// TestTableHasAllKeys: each field has its row, in the order of the fields.
func TestTableHasAllKeys(t *testing.T) {
	for _, s := range sections() {
		var names []string
		for _, r := range s.keys {
			names = append(names, r.name)
			if r.help == "" || r.standard == "" || !strings.HasSuffix(r.help, ".") {
				t.Errorf("%s %s: %+v", s.of, r.name, r)
			}
		}
		if d := cmp.Diff(keysOf(s.of), names); d != "" {
			t.Errorf("%s: %s", s.of, d)
		}
	}
}

// TestDocsAreInStep compares docs/set-spec.md with the table; run it with
// MOS_UPDATE=1 to write it, since it is not in testdata.
func TestDocsAreInStep(t *testing.T) {
	const file = "../../docs/set-spec.md"
	if os.Getenv("MOS_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(Doc()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != Doc() {
		t.Errorf("docs/set-spec.md is out of step, %v: run MOS_UPDATE=1 go test ./setmgr/spec\n%s", err, cmp.Diff(string(got), Doc()))
	}
}

func TestSchemaIsPublishedAsItIs(t *testing.T) { testx.Golden(t, "schema.golden", string(Schema())) }
