// Command summary reads the JSON that go test printed, shows what failed with
// its output and what skipped with its reason, and counts.
//
//	summary -ring NAME FILE     the failures of one ring, and its counts
//	summary -again FILE         the failures that are worth a second try, PACKAGE TEST each
//	summary -total FILE...      one closing line over several rings
//
// What a second try printed is in FILE.again. A test that failed and passed there counts
// as passed, and is named.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

type event struct {
	Action  string  `json:"Action"`
	Package string  `json:"Package"`
	Test    string  `json:"Test"`
	Output  string  `json:"Output"`
	Elapsed float64 `json:"Elapsed"`
}

func main() {
	ring := flag.String("ring", "", "name of the ring whose failures are shown")
	total := flag.Bool("total", false, "print the closing line only")
	tries := flag.Bool("again", false, "print the failures that are worth a second try, fail when a failure is not")
	flag.Parse()
	var err error
	if *tries {
		err = again(os.Stdout, flag.Args())
	} else {
		err = report(os.Stdout, *ring, *total, flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
}

// report shows the failures of some files and counts. Its error is that some failed, or
// that none passed.
func report(w io.Writer, ring string, quiet bool, files []string) error {
	var passed, failed, skipped int
	for _, name := range files {
		r, err := read(name)
		if err != nil {
			return err
		}
		second, err := read(name + ".again")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		passed += r.passed
		skipped += len(r.skipped)
		if !quiet {
			for _, l := range r.loose {
				fmt.Fprintln(w, l)
			}
			for _, f := range r.skipped {
				if reason := f.needs(); !strings.Contains(reason, "not in the unit ring") {
					fmt.Fprintf(w, "SKIP %s: %s\n", f.key(), reason)
				}
			}
		}
		for _, f := range r.failed {
			if second.ok[f.key()] {
				passed++
				fmt.Fprintf(w, "%s failed and passed when it was run again, alone: look into it\n", f.key())
			} else {
				failed++
			}
			if !quiet {
				f.show(w)
			}
		}
		for _, f := range second.failed {
			if !quiet {
				fmt.Fprint(w, "AGAIN ")
				f.show(w)
			}
		}
	}
	if ring != "" {
		fmt.Fprintf(w, "ring %s: ", ring)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if failed > 0 || passed == 0 {
		return errors.New("not all is well")
	}
	return nil
}

// most is how many tests of a ring may fail by chance: more of them have a cause.
const most = 2

// certain is what a test says whose failure is never a matter of chance: a race, a panic, a
// limit, or a course that is drawn by a seed and may not be met a second time.
var certain = regexp.MustCompile(`(?im)DATA RACE|race detected|^panic:|test timed out|(?:\b|_)seed[ =]|\[rapid\]`)

// again prints the failures of a ring that are worth a second try. Its error is that one
// is not, or that there are too many.
func again(w io.Writer, files []string) error {
	var all []result
	for _, name := range files {
		r, err := read(name)
		if err != nil {
			return err
		}
		for _, f := range r.failed {
			if f.test == "" || certain.MatchString(strings.Join(f.output, "")) {
				return fmt.Errorf("%s is not tried again: its failure is no matter of chance", f.key())
			}
		}
		all = append(all, r.failed...)
	}
	if len(all) == 0 || len(all) > most {
		return fmt.Errorf("%d failures are not tried again", len(all))
	}
	for _, f := range all {
		fmt.Fprintln(w, f.pkg, f.test)
	}
	return nil
}

// result is how a test ended that did not pass.
type result struct {
	pkg, test string // test is empty for a package that failed without a failing test
	took      float64
	output    []string
}

func (r result) key() string { return strings.TrimSpace(r.pkg + " " + r.test) }

func (r result) needs() string {
	for _, l := range r.output {
		if strings.Contains(l, "needs ") {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

func (r result) show(w io.Writer) {
	fmt.Fprintf(w, "FAIL %s (%.1f s)\n", r.key(), r.took)
	for _, l := range r.output {
		fmt.Fprint(w, "    ", l)
	}
}

// run is what one file of go test tells: sub-tests are not apart from their test.
type run struct {
	passed          int
	ok              map[string]bool // by key, what passed and nothing of its package failed
	failed, skipped []result
	loose           []string // lines that are no JSON: of the compiler
}

func read(name string) (run, error) {
	r := run{ok: map[string]bool{}}
	f, err := os.Open(name)
	if err != nil {
		return r, err
	}
	defer f.Close()
	output := map[string][]string{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<24)
	for s.Scan() {
		var e event
		if json.Unmarshal(s.Bytes(), &e) != nil {
			r.loose = append(r.loose, s.Text())
			continue
		}
		top, _, sub := strings.Cut(e.Test, "/")
		t := result{pkg: e.Package, test: top, took: e.Elapsed}
		key := t.key()
		t.output = output[key]
		switch {
		case e.Action == "output" || e.Action == "build-output":
			output[key] = append(output[key], e.Output)
		case sub:
		case e.Action == "pass" && e.Test != "":
			r.passed++
			r.ok[key] = true
			delete(output, key)
		case e.Action == "skip" && e.Test != "":
			r.skipped = append(r.skipped, t)
		case e.Action == "fail" && (e.Test != "" || !slices.ContainsFunc(r.failed, func(f result) bool { return f.pkg == e.Package })):
			r.failed = append(r.failed, t)
		}
	}
	for _, f := range r.failed {
		maps.DeleteFunc(r.ok, func(key string, _ bool) bool { return strings.HasPrefix(key, f.pkg+" ") })
	}
	if err := s.Err(); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}
