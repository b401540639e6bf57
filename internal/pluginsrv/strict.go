package pluginsrv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

func unmarshal(raw []byte, v any, strict bool) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if strict {
		dec.DisallowUnknownFields()
	}
	return dec.Decode(v)
}

// duplicates refuses an object that names a key twice: encoding/json would
// silently take the last one, or merge.
func duplicates(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	type frame struct {
		keys  map[string]bool // nil in an array
		value bool            // the next token of an object is a value
	}
	var stack []*frame
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return explain(err)
		}
		top := func() *frame {
			if len(stack) == 0 {
				return &frame{}
			}
			return stack[len(stack)-1]
		}()
		if key, ok := tok.(string); ok && top.keys != nil && !top.value {
			if top.keys[key] {
				return bodyError(fmt.Sprintf("field %.60q is there twice", key))
			}
			top.keys[key], top.value = true, true
			continue
		}
		top.value = false
		switch tok {
		case json.Delim('{'):
			stack = append(stack, &frame{keys: map[string]bool{}})
		case json.Delim('['):
			stack = append(stack, &frame{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
}
