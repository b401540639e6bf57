package pluginsrv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/containerd/errdefs"
)

// bodyError is a fault of a request's body: its sentence, of class InvalidArgument.
type bodyError string

func (e bodyError) Error() string { return string(e) }
func (bodyError) Unwrap() error   { return errdefs.ErrInvalidArgument }

// decode reads exactly one JSON object into v. With strict, unknown fields are
// refused too.
func decode(r io.Reader, v any, strict bool) error {
	dec := json.NewDecoder(r)
	if strict {
		dec.DisallowUnknownFields()
	}
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return explain(err)
	}
	if len(raw) == 0 || raw[0] != '{' {
		return bodyError("the body is no JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bodyError("the body goes on behind its JSON object")
	}
	if err := duplicates(raw); err != nil {
		return err
	}
	return explain(unmarshal(raw, v, strict))
}

func explain(err error) error {
	var big *http.MaxBytesError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		return bodyError("the body is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return bodyError("the body is cut off")
	case errors.As(err, &big):
		return bodyError(fmt.Sprintf("the body is larger than %d bytes", big.Limit))
	case errors.As(err, &kind):
		return bodyError(fmt.Sprintf("field %s: want %s, got %s", kind.Field, kind.Type, kind.Value))
	}
	return bodyError("the body cannot be read: " + err.Error())
}
