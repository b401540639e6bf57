package pluginsrv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	"github.com/go-json-experiment/json/jsontext"
)

// bodyLimit is how long the body of a request may take to arrive.
const bodyLimit = 30 * time.Second

// bodyError is a fault of a request, of class InvalidArgument.
type bodyError struct{ err error }

func (e *bodyError) Error() string   { return "request: " + e.err.Error() }
func (e *bodyError) Unwrap() []error { return []error{e.err, errdefs.ErrInvalidArgument} }

// decode reads the body of r, exactly one JSON object, into v. With strict,
// unknown fields are refused too.
func decode(w http.ResponseWriter, r *http.Request, limit int64, v any, strict bool) error {
	ctl := http.NewResponseController(w)
	_ = ctl.SetReadDeadline(time.Now().Add(bodyLimit)) // a recorder has none
	body, err := readBody(w, r, limit)
	if err == nil { // else net/http would wait for the rest without an end
		_ = ctl.SetReadDeadline(time.Time{})
	}
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = fmt.Errorf("the body is larger than %d bytes", big.Limit)
	} else if err != nil {
		err = fmt.Errorf("the body is cut off after %d bytes: %w", len(body), err)
	} else if p, ok := v.(Plain); !ok || strict || !p.ReadPlain(body) {
		err = Decode(body, v, strict)
	}
	if err != nil {
		return &bodyError{err}
	}
	return nil
}

// readBody reads a body of at most limit bytes, at once where its length is known.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	const most = 64 << 10 // that are taken before they are there
	if n := r.ContentLength; n > 0 && n <= min(limit, most) {
		body := make([]byte, n)
		got, err := io.ReadFull(r.Body, body)
		return body[:got], err
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
}

// Plain is a request with a quick way to read its plain form. It gives what [Decode] gives,
// or says that it is not of that form; then it is read anew.
type Plain interface {
	ReadPlain(body []byte) bool
}

// Decode reads exactly one JSON object into v, a pointer to a struct. An empty
// body, one that is cut off, goes on behind the object or is no UTF-8, a key
// that is there twice and a value of a wrong type are errors; so are, with
// strict, keys that v has no field for.
func Decode(body []byte, v any, strict bool) error {
	trimmed := bytes.TrimSpace(body)
	switch {
	case len(trimmed) == 0:
		return errors.New("the body is empty: an engine sends that when it repeats a call whose first answer it did not get: try the whole command again")
	case trimmed[0] != '{':
		return errors.New("the body is no JSON object")
	case !utf8.Valid(trimmed):
		return errors.New("the body is not in UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(trimmed))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(v); err != nil {
		return explain(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body goes on behind its JSON object")
	}
	return duplicates(trimmed, fieldNames(v))
}

func explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the body is cut off")
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("field %s: want %s, got %s", kind.Field, kind.Type, kind.Value)
	}
	return fmt.Errorf("the body cannot be read: %w", err)
}

// names are those of the fields of types, by type.
var names sync.Map //nolint:gochecknoglobals // types do not change

// fieldNames returns the names of the fields of v, folded.
func fieldNames(v any) map[string]bool {
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if known, ok := names.Load(t); ok {
		out, _ := known.(map[string]bool) // as stored below
		return out
	}
	out := map[string]bool{}
	if t.Kind() == reflect.Struct {
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = f.Name
			}
			out[fold(name)] = true
		}
	}
	names.Store(t, out)
	return out
}

// fold gives keys that encoding/json takes for the same field, which it does without
// regard to case, one form. Some letters beyond ASCII have an upper case within.
func fold(key string) string { return strings.ToLower(strings.ToUpper(key)) }

// duplicates refuses valid JSON that names a key twice in an object:
// encoding/json would silently take the last one, or merge. In the outermost
// object, a key that differs from another only in case counts when it means one
// of fields.
func duplicates(body []byte, fields map[string]bool) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowInvalidUTF8(true)) // escapes may be of half a character
	if _, err := dec.ReadToken(); err != nil {
		return twice(err)
	}
	seen := make(map[string]bool, len(fields))
	for dec.PeekKind() == '"' {
		key, err := dec.ReadToken()
		if err != nil {
			return twice(err)
		}
		if name := fold(key.String()); fields[name] {
			if seen[name] {
				return fmt.Errorf("key %q is there twice", clip(key.String()))
			}
			seen[name] = true
		}
		if err := dec.SkipValue(); err != nil {
			return twice(err)
		}
	}
	return nil
}

func twice(err error) error {
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok && errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Errorf("key %q is there twice", clip(s.JSONPointer.LastToken()))
	}
	return explain(err)
}
