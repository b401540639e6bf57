package policy

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// place is where a key stands, counted from 1.
type place struct{ line, column int }

// places finds the keys of a document that is known to be TOML, by paths such as
// who[0].profile.
func places(text []byte) map[string]place {
	out := map[string]place{}
	p := &unstable.Parser{}
	p.Reset(text)
	count := map[string]int{}
	prefix := ""
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind { //nolint:exhaustive // others hold no keys
		case unstable.Table, unstable.ArrayTable:
			path, at := keyOf(p, e, "")
			if e.Kind == unstable.ArrayTable {
				count[path]++
				if _, first := out[path]; !first {
					out[path] = at
				}
				path = fmt.Sprintf("%s[%d]", path, count[path]-1)
			}
			prefix = path
			out[prefix] = at
		case unstable.KeyValue:
			keyValue(p, e, prefix, out)
		}
	}
	return out
}

func keyValue(p *unstable.Parser, e *unstable.Node, prefix string, out map[string]place) {
	path, at := keyOf(p, e, prefix)
	out[path] = at
	value(p, e.Value(), path, at, out)
}

func value(p *unstable.Parser, v *unstable.Node, path string, at place, out map[string]place) {
	switch v.Kind { //nolint:exhaustive // others hold no keys
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			keyValue(p, it.Node(), path, out)
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); i++ {
			in := fmt.Sprintf("%s[%d]", path, i)
			out[in] = at
			value(p, it.Node(), in, at, out)
		}
	}
}

// keyOf is the path of a table or key below a prefix, and where it stands.
func keyOf(p *unstable.Parser, e *unstable.Node, prefix string) (string, place) {
	var at place
	var parts []string
	if prefix != "" {
		parts = []string{prefix}
	}
	for it := e.Key(); it.Next(); {
		n := it.Node()
		if at.line == 0 && n.Raw.Length > 0 {
			s := p.Shape(n.Raw).Start
			at = place{s.Line, s.Column}
		}
		parts = append(parts, string(n.Data))
	}
	return strings.Join(parts, "."), at
}
