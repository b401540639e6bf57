package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// put gives a container that was not started yet its files; s says which. Without
// files there is no step. What is in a file is in its text, was read beside the spec,
// or is in the container that served until now; else the error is of class
// FailedPrecondition.
func (b *builder) put(c spec.Container, s Step, needs ...int) (int, error) {
	if len(c.Options.Files) == 0 {
		return 0, nil
	}
	s.Op, s.Member, s.Cause = Put, c.Name, "it is to have them"
	for _, f := range c.Options.Files {
		one := File{File: f, Data: b.opt.Files[f.Digest]}
		if f.Digest == "" {
			one.Data = []byte(f.Text)
		}
		if one.Data == nil {
			from, err := b.hasFile(c.Name, f)
			if from == "" && s.Target != "" {
				from, err = s.Target, nil // an earlier call may have put it there
			}
			if err != nil {
				return 0, err
			}
			s.From = from
		}
		s.Files = append(s.Files, one)
	}
	return b.touch(s, needs...), nil
}

// hasFile is the id of the container of a member that has a file.
func (b *builder) hasFile(member string, f spec.File) (string, error) {
	old, ok := b.past[member]
	if had, err := spec.DecodeContainer(old.Spec); ok && err == nil && !b.torn {
		if slices.ContainsFunc(had.Options.Files, func(g spec.File) bool { return g.Path == f.Path && g.Digest == f.Digest }) {
			return old.ID, nil
		}
	}
	return "", fault.Conflict("what is in file %s of container %s is in no container of set %s: docker set up with the set's file, which names the source, gives it", f.Path, member, b.s.Name)
}

func (s Step) paths() string {
	var out []string
	for _, f := range s.Files {
		out = append(out, f.Path)
	}
	return strings.Join(out, " ")
}

// putLine says what docker cp would do with files that are here.
func (s Step) putLine() string {
	var out []string
	for _, f := range s.Files {
		what := f.Digest
		if what == "" {
			what = fmt.Sprintf("the text of %d bytes in the set's file", len(f.Text))
		}
		out = append(out, fmt.Sprintf("# docker cp FILE %s:%s, where FILE is %s", s.Name, f.Path, what))
	}
	return strings.Join(out, "\n")
}
