package api

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Decode reads a resource into to, strictly, and checks it. The error is of class
// InvalidArgument and names the field.
func Decode(data []byte, to Resource) error {
	if err := read(data, to); err != nil {
		return err
	}
	return to.Check()
}

// mostUnknown is how many fields that there are not are named.
const mostUnknown = 20

func read(data []byte, to Resource) error {
	var f flaws
	for {
		err := json.Unmarshal(data, to, json.RejectUnknownMembers(true))
		semantic, is := errors.AsType[*json.SemanticError](err)
		switch {
		case err == nil:
			return f.err()
		case !is:
			f.lines = append(f.lines, err.Error())
			return f.err()
		}
		why := fmt.Sprintf("a value of JSON kind %s does not fit here", semantic.JSONKind)
		if semantic.Err != nil {
			why = semantic.Err.Error()
		}
		f.add(string(semantic.JSONPointer), "%s", why)
		if !errors.Is(semantic.Err, json.ErrUnknownName) || len(f.lines) == mostUnknown {
			return f.err()
		}
		data = without(data, semantic.JSONPointer) // others may follow
	}
}

// without is JSON with blanks in the place of a member of an object: what else is wrong stands where it stood.
func without(data []byte, member jsontext.Pointer) []byte {
	data = bytes.Clone(data)
	d := jsontext.NewDecoder(bytes.NewReader(data))
	for first := false; ; {
		from := d.InputOffset()
		t, err := d.ReadToken()
		if err != nil {
			return nil // it is not there
		}
		if d.StackPointer() != member {
			first = t.Kind() == jsontext.KindBeginObject
			continue
		}
		_ = d.SkipValue() // what is wrong is read again
		to := d.InputOffset()
		if rest := bytes.TrimLeft(data[to:], " \t\r\n"); first && bytes.HasPrefix(rest, []byte(",")) {
			to = int64(len(data) - len(rest) + 1)
		}
		for i, c := range data[from:to] {
			if c != '\n' {
				data[from+int64(i)] = ' '
			}
		}
		return data
	}
}

// Stored reads what [Encode] wrote. What it does not know is of a later version and is
// passed over.
func Stored(data []byte, to Resource) error { return stored(data, to) }

func stored(data []byte, to Resource, how ...json.Options) error {
	if err := json.Unmarshal(data, to, how...); err != nil {
		return fmt.Errorf("read a stored resource of %s: %w", to.Kind(), err)
	}
	return nil
}

// Encode writes a resource. The same one gives the same bytes.
func Encode(r Resource) ([]byte, error) { return encode(r, json.Deterministic(true)) }

func encode(r Resource, how json.Options) ([]byte, error) {
	data, err := json.Marshal(r, how)
	if err != nil {
		return nil, fmt.Errorf("write %s %s: %w", r.Kind(), r.Head().Name, err)
	}
	return data, nil
}

// Codec reads and writes many resources, of which a template that many sets have costs once. So
// what it read shares templates, which are not to be changed in place, nor are those of what
// it wrote before [Codec.Forget]. It is for one goroutine at a time. Make it by [NewCodec].
type Codec struct {
	how     json.Options
	read    map[string]Template // by what was stored
	written map[*spec.Container]written
}

// written is a template and its JSON. It is known by its first container, which templates
// that are copies of each other share.
type written struct {
	Template
	as []byte
}

// mostTemplates is how many of them a Codec knows.
const mostTemplates = 1000

// NewCodec makes a codec that knows nothing yet.
func NewCodec() *Codec {
	c := &Codec{read: map[string]Template{}, written: map[*spec.Container]written{}}
	c.how = json.JoinOptions(
		json.Deterministic(true),
		json.WithMarshalers(json.MarshalToFunc(func(e *jsontext.Encoder, t Template) error {
			data, err := c.template(t)
			if err != nil {
				return err
			}
			return e.WriteValue(data)
		})),
		json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, t *Template) error {
			data, err := d.ReadValue()
			if err != nil {
				return err
			}
			if had, ok := c.read[string(data)]; ok {
				*t = had
				return nil
			}
			if err := t.UnmarshalJSON(data); err != nil {
				return err
			}
			if len(c.read) >= mostTemplates {
				clear(c.read)
			}
			c.read[string(data)] = *t
			return nil
		})),
	)
	return c
}

func (c *Codec) template(t Template) ([]byte, error) {
	if len(t.Containers) == 0 {
		return t.MarshalJSON()
	}
	by := &t.Containers[0]
	if had, ok := c.written[by]; ok && reflect.DeepEqual(t, had.Template) {
		return had.as, nil
	}
	data, err := t.MarshalJSON()
	if err != nil {
		return nil, err
	}
	if len(c.written) >= mostTemplates {
		clear(c.written)
	}
	c.written[by] = written{t, data}
	return data, nil
}

// Forget ends what it knows of what it wrote.
func (c *Codec) Forget() { clear(c.written) }

// Marshal writes what has templates in it as JSON.
func (c *Codec) Marshal(v any) ([]byte, error) { return json.Marshal(v, c.how) }

// Stored is like the function of this name.
func (c *Codec) Stored(data []byte, to Resource) error { return stored(data, to, c.how) }

// Encode is like the function of this name.
func (c *Codec) Encode(r Resource) ([]byte, error) { return encode(r, c.how) }
