package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// most is how many flaws an error tells.
const most = 20

// flaw is one thing that is wrong, and what to do.
type flaw struct {
	at   place
	path string // JSON pointer
	text string
}

// flaws collects what is wrong with a set.
type flaws struct {
	places map[string]place // of values by their pointers, none when no file was read
	list   []flaw
}

func (f *flaws) add(path, format string, args ...any) {
	f.list = append(f.list, flaw{f.place(path), path, fmt.Sprintf(format, args...)})
}

// place is that of path, or of the nearest thing around it.
func (f *flaws) place(path string) place {
	for {
		if p, ok := f.places[path]; ok || path == "" {
			return p
		}
		path = parent(path)
	}
}

func parent(path string) string { return path[:strings.LastIndexByte(path, '/')] }

// err is nil, or an error of class InvalidArgument with a line for each flaw.
func (f *flaws) err(file string) error {
	if len(f.list) == 0 {
		return nil
	}
	slices.SortStableFunc(f.list, func(a, b flaw) int {
		return cmp.Or(a.at.line-b.at.line, a.at.column-b.at.column)
	})
	var lines []string
	for i, one := range f.list {
		if i == most {
			lines = append(lines, fmt.Sprintf("… and %d more", len(f.list)-most))
			break
		}
		lines = append(lines, one.line(file))
	}
	return fault.Invalid("%s", strings.Join(lines, "\n"))
}

func (f flaw) line(file string) string {
	var b strings.Builder
	if file != "" {
		fmt.Fprintf(&b, "%s:%d:%d: ", file, f.at.line, f.at.column)
	}
	if f.path != "" {
		b.WriteString(f.path + ": ")
	}
	return b.String() + f.text
}

// unlessNear takes those of more that do not follow from a flaw that is known: of
// what could not be read, and of what seems to be missing beside it.
func (f *flaws) unlessNear(more []flaw) {
	known := map[string]bool{}
	for _, one := range f.list {
		known[one.path] = true
		if one.path != "" {
			known[parent(one.path)] = true
		}
	}
	for _, one := range more {
		_, read := f.places[one.path]
		if !known[one.path] && (read || one.path == "" || !known[parent(one.path)]) {
			f.list = append(f.list, one)
		}
	}
}
