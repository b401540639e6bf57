package request

import (
	"bytes"
	"errors"

	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	v1 "github.com/go-json-experiment/json/v1"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// deepest bounds the nesting of a body.
const deepest = 64

// one is what a body must be beyond what encoding/json asks for.
var one = strict.JoinOptions( //nolint:gochecknoglobals // constant options
	v1.DefaultOptionsV1(),
	v1.ReportErrorsWithLegacySemantics(false),
	jsontext.AllowDuplicateNames(false),
	jsontext.AllowInvalidUTF8(false),
	strict.MatchCaseInsensitiveNames(false),
	strict.RejectUnknownMembers(true),
)

// Decode reads a body into a value of the route's type, and refuses one that can be
// read in more than one way. What it takes, it reads as an Engine does.
func Decode[T any](body []byte) (*T, error) {
	var out T
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, fault.Invalid("the body is no JSON object")
	}
	if err := shallow(body); err != nil {
		return nil, err
	}
	if err := strict.Unmarshal(body, &out, one); err != nil {
		return nil, explain(err)
	}
	return &out, nil
}

// well says whether a body that is not looked into is one JSON value with each
// key once.
func well(body []byte) error {
	if err := shallow(body); err != nil {
		return err
	}
	var v any
	if err := strict.Unmarshal(body, &v, one); err != nil {
		return explain(err)
	}
	return nil
}

// shallow refuses bodies that are nested too deeply. Brackets in strings count
// too, up or down by as many as there are; a body within the bound is read on.
func shallow(body []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > deepest {
				return fault.Invalid("the body is nested deeper than %d levels", deepest)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

func explain(err error) error {
	if s, ok := errors.AsType[*strict.SemanticError](err); ok {
		switch {
		case errors.Is(err, strict.ErrUnknownName):
			return fault.Invalid("key %.80s of the body is not known, or not spelled as the Engine's documentation does: the client may be newer than this policy", s.JSONPointer)
		default:
			return fault.Invalid("%.80s of the body has a wrong type or value", s.JSONPointer)
		}
	}
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok && errors.Is(err, jsontext.ErrDuplicateName) {
		return fault.Invalid("key %.80s of the body is there twice", s.JSONPointer)
	}
	return fault.Invalid("the body is not one JSON value: %w", err)
}
