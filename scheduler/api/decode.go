package api

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Decode reads a resource into to, strictly, and checks it. The error is of class
// InvalidArgument and names the field.
func Decode(data []byte, to Resource) error {
	if err := read(data, to); err != nil {
		return err
	}
	return to.Check()
}

func read(data []byte, to Resource) error {
	err := json.Unmarshal(data, to, json.RejectUnknownMembers(true))
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &semantic):
		why := fmt.Sprintf("a value of JSON kind %s does not fit here", semantic.JSONKind)
		if semantic.Err != nil {
			why = semantic.Err.Error()
		}
		return fault.Invalid("%s: %s", semantic.JSONPointer, why)
	}
	return fault.Invalid("%w", err)
}

// Stored reads what [Encode] wrote. What it does not know is of a later version and is
// passed over.
func Stored(data []byte, to Resource) error {
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("read a stored resource of %s: %w", to.Kind(), err)
	}
	return nil
}

// Encode writes a resource. The same one gives the same bytes.
func Encode(r Resource) ([]byte, error) {
	data, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("write %s %s: %w", r.Kind(), r.Head().Name, err)
	}
	return data, nil
}
