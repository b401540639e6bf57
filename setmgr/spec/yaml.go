package spec

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readYAML reads a file that holds one YAML document.
func readYAML(data []byte) (*node, *flaw) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		return nil, &flaw{at: place{1, 1}, text: "the file is empty: a set has at least a Name and Containers"}
	}
	if err != nil {
		return nil, yamlFlaw(err)
	}
	n, bad := fromYAML(doc.Content[0])
	if bad != nil {
		return nil, bad
	}
	switch err = dec.Decode(&more); {
	case errors.Is(err, io.EOF):
		return n, nil
	case err != nil:
		return nil, yamlFlaw(err)
	}
	return nil, &flaw{at: place{max(more.Line, 1), max(more.Column, 1)}, text: "there is more than one document: a file has one set"}
}

// yamlFlaw finds the line in what the reader says: "yaml: line 3: …". None is the
// first, and what its grammar says counts from 0, its scanner from 1.
func yamlFlaw(err error) *flaw {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	f := &flaw{at: place{1, 1}}
	if head, tail, ok := strings.Cut(what, ": "); ok {
		if n, err := strconv.Atoi(strings.TrimPrefix(head, "line ")); err == nil {
			f.at.line, what = n, tail
			for _, s := range []string{"node content", "key", "'-' indicator", "',' or ']'", "',' or '}'", "<document start>"} {
				if what == "did not find expected "+s {
					f.at.line++
				}
			}
		}
	}
	f.text = "it is no YAML: " + what
	return f
}

// fromYAML makes a node of what the reader found.
func fromYAML(y *yaml.Node) (*node, *flaw) {
	n := &node{at: place{y.Line, y.Column}}
	if y.Kind == yaml.AliasNode {
		return nil, &flaw{at: n.at, text: "*" + y.Value + " stands for something else: write it out, aliases are not taken"}
	}
	if y.Kind == yaml.ScalarNode {
		return n, n.scalar(y)
	}
	if n.kind = object; y.Kind == yaml.SequenceNode {
		n.kind = list
	}
	if tag := y.ShortTag(); tag != "!!map" && tag != "!!seq" {
		return nil, &flaw{at: n.at, text: "the tag " + tag + " means nothing here: drop it"}
	}
	for i, c := range y.Content {
		item, bad := fromYAML(c)
		if bad != nil {
			return nil, bad
		}
		if n.kind == object && i%2 == 0 {
			if bad := isKey(item, c); bad != nil {
				return nil, bad
			}
			n.keys = append(n.keys, item)
			continue
		}
		n.items = append(n.items, item)
	}
	return n, nil
}

func (n *node) scalar(y *yaml.Node) *flaw {
	n.text = y.Value
	switch tag := y.ShortTag(); tag {
	case "!!str", "!!timestamp", "!!merge":
		n.kind = text
	case "!!int", "!!float":
		n.kind = number
	case "!!bool":
		n.kind, n.text = boolean, strings.ToLower(y.Value)
	case "!!null":
		n.kind, n.text = null, ""
	default:
		return &flaw{at: n.at, text: "the tag " + tag + " means nothing here: drop it"}
	}
	return nil
}

// isKey makes text of what is before a colon.
func isKey(n *node, y *yaml.Node) *flaw {
	switch {
	case y.ShortTag() == "!!merge":
		return &flaw{at: n.at, text: "<< stands for something else: write it out, merges are not taken"}
	case n.kind == object || n.kind == list || n.kind == null:
		return &flaw{at: n.at, text: "want a key before the colon, not " + string(n.kind)}
	}
	n.kind, n.text = text, y.Value
	return nil
}
