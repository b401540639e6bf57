package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/docker/cli/cli"
	"github.com/spf13/cobra"
)

// The rules of all output:
//
//   - What was asked for goes to standard output, and nothing else does.
//   - Errors go to standard error as "docker mos: error: …", then what to do as
//     lines "hint: …". Remarks go there too, as "docker mos: …". A command line
//     that cannot be understood ends as docker's do, with "See '… --help'."
//   - Sentences are lower case, without a full stop, and name the object.
//   - No color and no cursor movement: a terminal and a pipe get the same bytes.
//   - What takes long says how far it is, in lines on standard error, once a
//     second at most, and only when that is a terminal. See progress.go.
//   - Lists look like docker's: a table, or what --format asks for, JSON objects
//     one a line with "--format json". Ids are cut to 12 characters there unless
//     --no-trunc is given. Sizes on disk are in binary units, traffic is in
//     decimal ones.
//   - What changes something prints the names of what it changed; with --dry-run
//     it prints its plan as a list.
//   - Exit code 0 is well; 1 is an error, or an answer that is bad news (a dropped
//     packet, a failed check, a finding); 2 is a command that cannot be
//     understood; 128 and the signal's number is an end by a signal.

// hintedError is an error with what to do about it.
type hintedError struct {
	err   error
	hints []string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

func hinted(err error, hints ...string) error { return &hintedError{err, hints} }

// usageError is a command line that cannot be understood.
type usageError struct {
	sentence string
	help     string // the command whose help says more; "" is the whole program
}

func (e *usageError) Error() string { return e.sentence }

func usage(format string, args ...any) error {
	return &usageError{sentence: fmt.Sprintf(format, args...)}
}

// failure is an error with a class for code and only the sentence for people.
func failure(class error, format string, args ...any) error {
	return &classError{fmt.Sprintf(format, args...), class}
}

type classError struct {
	sentence string
	class    error
}

func (e *classError) Error() string { return e.sentence }
func (e *classError) Unwrap() error { return e.class }

// errBadNews ends a command whose output said already what is wrong.
var errBadNews = errors.New("bad news")

// unansweredError is why a question was not answered whose answer is an exit code: that
// is 2 then.
type unansweredError struct{ error }

func (e *unansweredError) Unwrap() error { return e.error }

// report prints what a command ended with and returns its exit code.
func report(w io.Writer, name string, err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errBadNews):
		return 1
	}
	if e, ok := errors.AsType[exitError](err); ok {
		return int(e)
	}
	sentence, hints := strings.TrimSpace(err.Error()), []string(nil)
	code, help := 1, ""
	if u, ok := errors.AsType[*usageError](err); ok {
		sentence, code = u.sentence, 2
		help = cmp.Or(u.help, "docker "+name)
	}
	if s, ok := errors.AsType[cli.StatusError](err); ok {
		// docker's own frame refuses its global options so, with the usage below.
		sentence, _, _ = strings.Cut(s.Status, "\n")
		code = 2
	}
	if _, ok := errors.AsType[*unansweredError](err); ok {
		code = 2
	}
	if s, ok := errors.AsType[*signalError](err); ok {
		code = codeOf(s.Signal)
	}
	if h, ok := errors.AsType[*hintedError](err); ok {
		hints = h.hints
	}
	_, _ = fmt.Fprintf(w, "docker %s: error: %s\n", name, sentence)
	hint(w, hints...)
	if help != "" {
		_, _ = fmt.Fprintf(w, "See '%s --help'.\n", help)
	}
	return code
}

// remark says something beside the output.
func remark(w io.Writer, format string, args ...any) { remarkBy(w, "mos", format, args...) }

// remarkBy is remark of another plugin.
func remarkBy(w io.Writer, plugin, format string, args ...any) {
	_, _ = fmt.Fprintf(w, "docker "+plugin+": "+format+"\n", args...)
}

// pluginOf is the plugin that a command is of, mos or set.
func pluginOf(cmd *cobra.Command) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(cmd.CommandPath(), "docker "), " ")
	return name
}

// remarkOn says what went wrong where a command goes on, and what to do about it.
func remarkOn(w io.Writer, err error) {
	remark(w, "%s", err)
	if h, ok := errors.AsType[*hintedError](err); ok {
		hint(w, h.hints...)
	}
}

// hint says what to do, each thing once.
func hint(w io.Writer, hints ...string) {
	var said []string
	for _, h := range hints {
		if h != "" && !slices.Contains(said, h) {
			said = append(said, h)
			_, _ = fmt.Fprintln(w, "hint: "+h)
		}
	}
}
