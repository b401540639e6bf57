// Package dockerfile finds the images that a Dockerfile reads, for the classic builder of any
// Engine, and names them by their ids.
//
// It does not parse Dockerfiles as an Engine does, since Engines differ. An instruction begins
// with a line, whatever the Engine; what could be the beginning of one to some Engine and not to
// another is refused, and so is what could name an image in other ways than are read here.
package dockerfile

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Pin returns a Dockerfile with the id of each image that it reads instead of its name: what an
// Engine finds is what was judged, whatever the name means by then. args are the build's. base
// gives an image's id, and its error refuses the Dockerfile. Else an error is of class
// InvalidArgument, and names the line.
func Pin(text string, args map[string]string, base func(ref string) (id string, err error)) (string, error) {
	p := &pinner{args: args, base: base, values: map[string]string{}, stages: map[string]bool{}, escapes: `\`}
	if backtick.MatchString(text) {
		p.escapes += "`"
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		now, err := p.line(line)
		if err != nil {
			return "", fmt.Errorf("line %d of the Dockerfile: %w", i+1, err)
		}
		lines[i] = now
	}
	return strings.Join(lines, "\n"), nil
}

var (
	backtick = regexp.MustCompile(`(?im)^[^\n]*#\s*escape\s*=`)
	heredoc  = regexp.MustCompile("(^|[\\s\"'\\\\`])\\d*<<[^<]")
	variable = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)
	argument = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(=.*)?$`)
)

// quoting are the characters that Engines take out of words, or join lines by.
const quoting = "\"'\\`"

// pinner is a Dockerfile that is read up to a line.
type pinner struct {
	args    map[string]string
	base    func(string) (string, error)
	escapes string // characters that join lines, or may

	open   bool              // the line before may go on
	begun  bool              // there was a FROM
	values map[string]string // of the arguments before it
	stages map[string]bool   // that are complete, in small letters as Engines have them
	stage  string            // the name of the one that is not, if it has one
}

func (p *pinner) line(line string) (string, error) {
	words := split(strings.TrimPrefix(line, "\ufeff"))
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return line, nil // which joins nothing and ends nothing
	}
	if heredoc.MatchString(line) {
		return "", fault.Invalid("here-documents need BuildKit")
	}
	open := p.open
	p.open = p.goesOn(line)
	name := strings.ToLower(words[0])
	if cut := strings.TrimRight(name, p.escapes); cut != name && cut != "" {
		for _, of := range []string{"from", "copy", "onbuild"} {
			if strings.HasPrefix(of, cut) {
				return "", fault.Invalid("the name of an instruction goes over two lines: write it in one")
			}
		}
	}
	var now []string
	var err error
	switch name {
	case "arg":
		p.arg(words[1:])
		return line, nil
	case "from":
		now, err = p.from(words[1:])
	case "copy":
		now, err = p.copies(words[1:])
	case "onbuild":
		err = p.onBuild(words[1:])
	}
	switch {
	case err != nil:
		return "", err
	case open && (name == "from" || now != nil):
		return "", fault.Invalid("%s is the beginning of a line of another instruction: some Engines take it for one of its own", strings.ToUpper(name))
	case now == nil:
		return line, nil
	}
	return strings.Join(append([]string{words[0]}, now...), " "), nil
}

// goesOn says whether some Engine takes the next line for a part of this one.
func (p *pinner) goesOn(line string) bool {
	line = strings.TrimRight(line, " \t\r")
	return line != "" && strings.Contains(p.escapes, line[len(line)-1:])
}

// split gives words as Engines do between an instruction, its flags and names.
func split(line string) []string {
	return strings.FieldsFunc(strings.TrimLeftFunc(line, unicode.IsSpace), func(c rune) bool { return strings.ContainsRune("\t\v\f\r ", c) })
}

// arg takes what arguments before the first FROM are.
func (p *pinner) arg(words []string) {
	for _, w := range words {
		m := argument.FindStringSubmatch(w)
		if p.begun || m == nil {
			continue
		}
		value, plain := strings.CutPrefix(m[2], "=")
		if n := len(value); n > 1 && strings.ContainsRune(`"'`, rune(value[0])) && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		if given, ok := p.args[m[1]]; ok {
			value, plain = given, true
		}
		delete(p.values, m[1])
		if plain && !strings.ContainsAny(value, "$"+quoting) {
			p.values[m[1]] = value
		}
	}
}

// from reads what follows FROM, and returns what is to stand there instead.
func (p *pinner) from(words []string) ([]string, error) {
	flags := flagsOf(words)
	rest := words[len(flags):]
	if strings.ContainsAny(strings.Join(words, ""), quoting) || len(rest) != 1 && (len(rest) != 3 || !strings.EqualFold(rest[1], "as")) {
		return nil, fault.Invalid("want FROM IMAGE or FROM IMAGE AS NAME in one line, without quotes")
	}
	ref, err := p.expand(rest[0])
	if err != nil {
		return nil, err
	}
	p.begun = true
	p.complete()
	if len(rest) == 3 {
		p.stage = rest[2]
	}
	if ref != "scratch" && !p.isStage(ref) {
		if ref, err = p.base(ref); err != nil {
			return nil, err
		}
	}
	return slices.Concat(flags, []string{ref}, rest[1:]), nil
}

// complete has the stage before be one that others may name.
func (p *pinner) complete() {
	if p.stage != "" {
		p.stages[strings.ToLower(p.stage)] = true
	}
	p.stage = ""
}

func (p *pinner) isStage(name string) bool { return p.stages[strings.ToLower(name)] }

// expand puts the values of arguments into a name.
func (p *pinner) expand(name string) (out string, err error) {
	out = variable.ReplaceAllStringFunc(name, func(v string) string {
		v = strings.Trim(v, "${}")
		value, ok := p.values[v]
		if !ok {
			err = fault.Invalid("%s has no plain value: give it one by ARG %s=VALUE before the first FROM, or by --build-arg", v, v)
		}
		return value
	})
	if err == nil && (out == "" || strings.ContainsAny(out, "${}")) {
		err = fault.Invalid("%.80q is not the plain name of an image, with $NAME or ${NAME} in it", name)
	}
	return out, err
}

// copies reads what follows COPY, and returns what is to stand there instead; nil for that.
func (p *pinner) copies(words []string) ([]string, error) {
	flags := flagsOf(words)
	if p.open && (len(flags) == len(words) || len(flags)+1 == len(words) && strings.Trim(words[len(flags)], "-"+p.escapes) == "") {
		return nil, fault.Invalid("the flags of COPY go over two lines: write them in one")
	}
	pinned := false
	now := slices.Clone(words)
	for i, f := range flags {
		if strings.ContainsAny(f, quoting) {
			return nil, fault.Invalid("flag %.80q of COPY has quotes: write it without", f)
		}
		ref, is := strings.CutPrefix(f, "--from=")
		if _, err := strconv.Atoi(ref); !is || err == nil || ref == "" || p.isStage(ref) {
			pinned = pinned || is
			continue
		}
		id, err := p.base(ref)
		if err != nil {
			return nil, err
		}
		now[i], pinned = "--from="+id, true
	}
	if !pinned {
		return nil, nil
	}
	return now, nil
}

// onBuild refuses what would read an image when somebody builds upon this one.
func (p *pinner) onBuild(words []string) error {
	if p.open && len(words) < 3 || p.open && strings.EqualFold(words[0], "copy") || Reads(strings.Join(words, " ")) {
		return fault.Invalid("ONBUILD must be in one line, and its COPY without --from")
	}
	return nil
}

// Reads says whether a trigger of an image may read another image.
func Reads(trigger string) bool {
	bare := strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || strings.ContainsRune(quoting, c) {
			return -1
		}
		return unicode.ToLower(c)
	}, trigger)
	return strings.Contains(bare, "--from")
}

func flagsOf(words []string) []string {
	n := slices.IndexFunc(words, func(w string) bool { return !strings.HasPrefix(w, "--") })
	if n < 0 {
		n = len(words)
	}
	return words[:n]
}
