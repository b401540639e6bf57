// Command man writes manual pages of the programs in a folder, from what these say when they
// are asked for help, so that the two never disagree:
//
//	go run ./deploy/man PROGRAMS PAGES
//
// Pages come into PAGES/man1 (the commands of docker) and PAGES/man8 (the daemons).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "want: go run ./deploy/man PROGRAMS PAGES")
		os.Exit(2)
	}
	if err := writeAll(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "man: error:", err)
		os.Exit(1)
	}
}

// daemons have one page each, with their commands.
func daemons() []string {
	return []string{"mosbridge", "mos-lvm", "mos-authz", "mosd", "mos-scheduler"}
}

func writeAll(ctx context.Context, programs, pages string) error {
	for _, section := range []string{"man1", "man8"} {
		if err := os.MkdirAll(filepath.Join(pages, section), 0o755); err != nil { //nolint:gosec // all read them
			return err
		}
	}
	var errs []error
	for _, d := range daemons() {
		errs = append(errs, daemon(ctx, filepath.Join(programs, d), filepath.Join(pages, "man8", d+".8")))
	}
	for _, word := range []string{"mos", "set"} {
		c := command{program: filepath.Join(programs, "docker-mos"), pages: filepath.Join(pages, "man1"), words: []string{word}}
		errs = append(errs, c.write(ctx, ""))
	}
	return errors.Join(errs...)
}

// help is what a program says of itself when it is called by a name.
func help(ctx context.Context, program, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the programs are ours
	cmd.Args[0] = name
	cmd.Env = []string{"HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	return string(out), nil
}

// daemon writes the page of a daemon. Its help begins with its name and what it is.
func daemon(ctx context.Context, program, page string) error {
	name := filepath.Base(program)
	text, err := help(ctx, program, name, "-h")
	if err != nil {
		return err
	}
	first, rest, _ := strings.Cut(text, "\n")
	what, ok := strings.CutPrefix(first, name+": ")
	if !ok {
		return fmt.Errorf("%s -h begins with %q, want %q and what it is", program, first, name+": ")
	}
	p := begin(name, 8, what)
	p.section("DESCRIPTION")
	p.text(rest)
	if err := commandsOf(ctx, p, program, name, text); err != nil {
		return err
	}
	return os.WriteFile(page, p.bytes(), 0o644) //nolint:gosec // all read it
}

// commandsOf adds what the commands that a help lists in lines of their own say of themselves.
func commandsOf(ctx context.Context, p *page, program, path, text string) error {
	for _, m := range regexp.MustCompile(`(?m)^`+path+` ([a-z]+)  `).FindAllStringSubmatch(text, -1) {
		of := path + " " + m[1]
		more, err := help(ctx, program, path, append(strings.Fields(of)[1:], "-h")...)
		if err != nil {
			return err
		}
		if more == text { // they are described together
			continue
		}
		p.section(strings.ToUpper(of))
		p.text(more)
		if err := commandsOf(ctx, p, program, of, more); err != nil {
			return err
		}
	}
	return nil
}

// command is one of docker's.
type command struct {
	program, pages string
	words          []string // behind docker
}

func (c command) name() string { return "docker-" + strings.Join(c.words, "-") }

// write makes the page of a command and those of the commands below it. short says in the
// parent's list what it is.
func (c command) write(ctx context.Context, short string) error {
	text, err := help(ctx, c.program, "docker-"+c.words[0], append(slices.Clip(c.words), "--help")...)
	if err != nil {
		return err
	}
	usage, rest, _ := strings.Cut(text, "\n\n")
	usage, ok := strings.CutPrefix(usage, "Usage:  ")
	if !ok {
		return fmt.Errorf("the help of %s begins with %q", c.name(), usage)
	}
	if short == "" {
		short, _, _ = strings.Cut(rest, "\n")
	}
	p := begin(c.name(), 1, short)
	p.section("SYNOPSIS")
	p.text(usage)
	p.section("DESCRIPTION")
	var below []item
	for part := range strings.SplitSeq(rest, "\n\n") {
		title, list, _ := strings.Cut(part, "\n")
		switch title {
		case "Options:":
			p.section("OPTIONS")
			p.text(list)
		case "Examples:", "Aliases:":
			p.section(strings.ToUpper(strings.TrimSuffix(title, ":")))
			p.asItStands(list)
		case "Commands:", "Management Commands:":
			p.section(strings.ToUpper(strings.TrimSuffix(title, ":")))
			found := items(list)
			for _, it := range found {
				p.item(c.name()+"-"+it.name+"(1)", "", it.text)
			}
			below = append(below, found...)
		default:
			if !strings.HasPrefix(part, "Run '") { // which tells of the pages that are listed here
				p.text(part)
			}
		}
	}
	if len(c.words) > 1 {
		p.section("SEE ALSO")
		p.text("docker-" + strings.Join(c.words[:len(c.words)-1], "-") + "(1)")
	}
	if err := os.WriteFile(filepath.Join(c.pages, c.name()+".1"), p.bytes(), 0o644); err != nil { //nolint:gosec // all read it
		return err
	}
	for _, it := range below {
		sub := c
		sub.words = append(slices.Clip(c.words), it.name)
		if err := sub.write(ctx, it.text); err != nil {
			return err
		}
	}
	return nil
}
