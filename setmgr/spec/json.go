package spec

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// jsonReader makes nodes of the tokens of a JSON file.
type jsonReader struct {
	data []byte
	dec  *jsontext.Decoder
	// seen is up to where lines were counted, at is the place there.
	seen int
	at   place
}

// readJSON reads a file that holds one JSON value. Doubled keys are left to the
// decoder, which knows where they are.
func readJSON(data []byte) (*node, *flaw) {
	r := &jsonReader{data: data, at: place{1, 1}}
	r.dec = jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))
	n, err := r.value()
	if err == nil {
		r.dec.PeekKind()
		more := r.place()
		if _, err = r.dec.ReadToken(); errors.Is(err, io.EOF) {
			return n, nil
		}
		if err == nil {
			return nil, &flaw{at: more, text: "there is more behind the set: a file has one set"}
		}
	}
	return nil, r.flaw(err)
}

func (r *jsonReader) flaw(err error) *flaw {
	f := &flaw{at: r.place(), text: "it is no JSON: the file ends too early"}
	if bad := new(jsontext.SyntacticError); errors.As(err, &bad) && !errors.Is(err, io.ErrUnexpectedEOF) {
		f.at = r.placeAt(int(bad.ByteOffset))
		f.text = "it is no JSON: " + bad.Err.Error()
	}
	return f
}

// value reads the next value.
func (r *jsonReader) value() (*node, error) {
	r.dec.PeekKind() // what is before the value is read, the value is not
	n := &node{at: r.place()}
	tok, err := r.dec.ReadToken()
	if err != nil {
		return nil, err
	}
	n.text = tok.String()
	switch {
	case tok.Kind() == jsontext.KindBeginObject:
		n.kind = object
		return n, r.inside(n)
	case tok.Kind() == jsontext.KindBeginArray:
		n.kind = list
		return n, r.inside(n)
	case tok.Kind() == jsontext.KindString:
		n.kind = text
	case tok.Kind() == jsontext.KindNumber:
		n.kind = number
	case tok.Kind() == jsontext.KindTrue, tok.Kind() == jsontext.KindFalse:
		n.kind = boolean
	default:
		n.kind = null
	}
	return n, nil
}

// inside reads what an object or a list holds, and its end.
func (r *jsonReader) inside(n *node) error {
	for {
		if k := r.dec.PeekKind(); k == jsontext.KindEndObject || k == jsontext.KindEndArray {
			_, err := r.dec.ReadToken()
			return err
		}
		if n.kind == object {
			key, err := r.value()
			if err != nil {
				return err
			}
			n.keys = append(n.keys, key)
		}
		item, err := r.value()
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
}

// place is that of the token that comes next.
func (r *jsonReader) place() place {
	i := int(r.dec.InputOffset())
	for i < len(r.data) && bytes.IndexByte([]byte(" \t\r\n,:"), r.data[i]) >= 0 {
		i++
	}
	return r.placeAt(i)
}

func (r *jsonReader) placeAt(offset int) place {
	offset = min(offset, len(r.data))
	if offset < r.seen {
		r.seen, r.at = 0, place{1, 1}
	}
	for r.seen < offset {
		_, size := utf8.DecodeRune(r.data[r.seen:])
		if r.data[r.seen] == '\n' {
			r.at = place{r.at.line + 1, 0}
		}
		r.at.column++
		r.seen += size
	}
	return r.at
}
