package api

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// flaws collects what is wrong with a resource.
type flaws struct{ lines []string }

func (f *flaws) add(field, format string, args ...any) {
	f.lines = append(f.lines, field+": "+fmt.Sprintf(format, args...))
}

// under adds what another check says of a part, below its field.
func (f *flaws) under(field string, err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		f.lines = append(f.lines, field+strings.TrimSuffix(line, "\n"))
	}
}

// err is nil or of class InvalidArgument, with a line for each flaw.
func (f *flaws) err() error {
	if len(f.lines) == 0 {
		return nil
	}
	return fault.Invalid("%s", strings.Join(f.lines, "\n"))
}

// oneOf complains of a word that is none of those known.
func oneOf[T ~string](f *flaws, field string, got T, known ...T) {
	if slices.Contains(known, got) {
		return
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = cmp.Or(string(k), "nothing")
	}
	f.add(field, "%.60q is not known: take one of %s", string(got), strings.Join(words, ", "))
}

// within complains of a number outside of a range.
func within(f *flaws, field string, got, least, most int64) {
	if got < least || got > most {
		f.add(field, "%d cannot be: it is between %d and %d", got, least, most)
	}
}
