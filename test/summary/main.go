// Command summary reads the JSON that go test printed, shows what failed with
// its output and what skipped with its reason, and counts.
//
//	summary -ring NAME FILE     the failures of one ring, and its counts
//	summary -total FILE...      one closing line over several rings
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

type event struct {
	Action  string  `json:"Action"`
	Package string  `json:"Package"`
	Test    string  `json:"Test"`
	Output  string  `json:"Output"`
	Elapsed float64 `json:"Elapsed"`
}

type counts struct{ passed, failed, skipped int }

func main() {
	ring := flag.String("ring", "", "name of the ring whose failures are shown")
	total := flag.Bool("total", false, "print the closing line only")
	flag.Parse()
	c, err := summarize(os.Stdout, *total, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	if *ring != "" {
		fmt.Fprintf(os.Stdout, "ring %s: ", *ring)
	}
	fmt.Fprintf(os.Stdout, "%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	if c.failed > 0 || c.passed == 0 {
		os.Exit(1)
	}
}

func summarize(w io.Writer, quiet bool, files []string) (counts, error) {
	var c counts
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return c, err
		}
		err = read(w, f, quiet, &c)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", name, err)
		}
	}
	return c, nil
}

// read counts the tests of one file, sub-tests not apart, and packages that
// failed without a failing test, such as those that do not compile.
func read(w io.Writer, r io.Reader, quiet bool, c *counts) error {
	output := map[string][]string{}
	failedIn := map[string]bool{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<24)
	for s.Scan() {
		var e event
		if json.Unmarshal(s.Bytes(), &e) != nil {
			if !quiet {
				fmt.Fprintln(w, s.Text()) // of the compiler
			}
			continue
		}
		key := e.Package + " " + e.Test
		top, _, sub := strings.Cut(e.Test, "/")
		if sub {
			key = e.Package + " " + top
		}
		switch {
		case e.Action == "output" || e.Action == "build-output":
			output[key] = append(output[key], e.Output)
		case e.Action == "pass" && e.Test != "" && !sub:
			c.passed++
			delete(output, key)
		case e.Action == "skip" && e.Test != "" && !sub:
			c.skipped++
			show(w, quiet, "SKIP", key, e.Elapsed, reason(output[key]))
		case e.Action == "fail" && !sub:
			if e.Test == "" && failedIn[e.Package] {
				continue
			}
			failedIn[e.Package] = true
			c.failed++
			show(w, quiet, "FAIL", key, e.Elapsed, output[key])
		}
	}
	return s.Err()
}

func reason(lines []string) []string {
	for _, l := range lines {
		if strings.Contains(l, "needs ") {
			return []string{l}
		}
	}
	return nil
}

func show(w io.Writer, quiet bool, verdict, test string, took float64, lines []string) {
	if quiet {
		return
	}
	fmt.Fprintf(w, "%s %s (%.1f s)\n", verdict, test, took)
	for _, l := range lines {
		fmt.Fprint(w, "    ", l)
	}
}
