package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
)

// Problem is how the API says that it did not do something, as RFC 9457 has it. It is an
// error of its class.
type Problem struct { //nolint:errname // the word of RFC 9457
	Title  string `json:"title"` // of the status
	Status int    `json:"status"`
	// Code is the class in one word, such as not_found.
	Code string `json:"code"`
	// Detail is a sentence that names the object, and what to do.
	Detail string `json:"detail"`
	// Errors are all flaws of what was sent.
	Errors []Flaw `json:"errors,omitzero"`
}

// Flaw is one thing wrong with what was sent.
type Flaw struct {
	Location string `json:"location,omitzero"` // such as spec.replicas
	Message  string `json:"message"`
}

// errRateLimited is of who asks too often, and may ask again.
var errRateLimited = fmt.Errorf("%w: too many requests", errdefs.ErrUnavailable)

// class is an error's class: its word, and the status that says so.
type class struct {
	code   string
	status int
	err    error
}

func classes() []class {
	return []class{
		{"invalid_argument", http.StatusUnprocessableEntity, errdefs.ErrInvalidArgument},
		{"not_found", http.StatusNotFound, errdefs.ErrNotFound},
		{"already_exists", http.StatusConflict, errdefs.ErrAlreadyExists},
		{"gone", http.StatusGone, errdefs.ErrOutOfRange},
		{"stale", http.StatusPreconditionFailed, errdefs.ErrAborted},
		{"conflict", http.StatusConflict, errdefs.ErrFailedPrecondition},
		{"unauthenticated", http.StatusUnauthorized, errdefs.ErrUnauthenticated},
		{"permission_denied", http.StatusForbidden, errdefs.ErrPermissionDenied},
		{"rate_limited", http.StatusTooManyRequests, errRateLimited},
		{"exhausted", http.StatusInsufficientStorage, errdefs.ErrResourceExhausted},
		{"not_implemented", http.StatusNotImplemented, errdefs.ErrNotImplemented},
		{"unavailable", http.StatusServiceUnavailable, errdefs.ErrUnavailable},
		{"deadline_exceeded", http.StatusGatewayTimeout, context.DeadlineExceeded},
		{"internal", http.StatusInternalServerError, errdefs.ErrInternal},
	}
}

// NewProblem tells of an error.
func NewProblem(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	all := classes()
	is := all[len(all)-1]
	for _, c := range all {
		if errors.Is(err, c.err) {
			is = c
			break
		}
	}
	p := &Problem{Title: http.StatusText(is.status), Status: is.status, Code: is.code, Detail: err.Error()}
	if is.code == "invalid_argument" {
		p.Errors = flawsOf(p.Detail)
	}
	return p
}

// flawsOf are the lines that a Check gave: a field, then what is wrong with it.
func flawsOf(text string) []Flaw {
	var all []Flaw
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		field, why, ok := strings.Cut(line, ": ")
		if !ok || strings.ContainsAny(field, " \t") {
			field, why = "", line
		}
		all = append(all, Flaw{field, why})
	}
	return all
}

// ProblemOf is one of a class by its HTTP status, for what did not come to an error of ours.
func ProblemOf(status int, detail string, flaws ...Flaw) *Problem {
	p := &Problem{Title: http.StatusText(status), Status: status, Code: "internal", Detail: detail, Errors: flaws}
	for _, c := range classes() {
		if c.status == status {
			p.Code = c.code
			break
		}
	}
	if p.Code == "internal" && status/100 == 4 {
		p.Code = "invalid_argument"
	}
	return p
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problems.
func (*Problem) ContentType(string) string { return "application/problem+json" }

// Unwrap gives the class.
func (p *Problem) Unwrap() error {
	for _, c := range classes() {
		if c.code == p.Code {
			return c.err
		}
	}
	return errdefs.ErrInternal
}
