package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// page is a manual page in the language of man.
type page struct{ b bytes.Buffer }

func begin(name string, section int, what string) *page {
	p := &page{}
	fmt.Fprintf(&p.b, ".TH %s %d \"\" %[3]s %[3]s\n", escape(strings.ToUpper(name)), section, "MosDocker")
	p.section("NAME")
	fmt.Fprintf(&p.b, "%s \\- %s\n", escape(name), escape(what))
	return p
}

func (p *page) bytes() []byte { return p.b.Bytes() }

func (p *page) section(title string) { fmt.Fprintf(&p.b, ".SH %s\n", escape(title)) }

// item is a word, or a flag with its value, that text explains.
type item struct{ name, value, text string }

func (p *page) item(name, value, text string) {
	head := `\fB` + escape(name) + `\fR`
	if value != "" {
		head += ` \fI` + escape(value) + `\fR`
	}
	fmt.Fprintf(&p.b, ".TP\n%s\n%s\n", head, escape(text))
}

// text writes what a help says: flags with what explains them, paragraphs, and all else as it
// stands there.
func (p *page) text(text string) {
	for block := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		block = strings.TrimRight(block, "\n ")
		switch list := items(block); {
		case block == "":
		case list != nil:
			for _, it := range list {
				p.item(it.name, it.value, it.text)
			}
		case drawn.MatchString(block):
			p.asItStands(block)
		default:
			fmt.Fprintf(&p.b, ".PP\n%s\n", escape(block))
		}
	}
}

func (p *page) asItStands(text string) {
	fmt.Fprintf(&p.b, ".PP\n.EX\n%s\n.EE\n", escape(strings.TrimRight(text, "\n ")))
}

// The forms of lines: columns that somebody set; the beginning of an item, as flags of daemons
// and as flags or commands of docker's are listed; what goes on with an item.
var (
	drawn   = regexp.MustCompile(`(?m)^\s|\S\s{2,}\S`)
	ours    = regexp.MustCompile(`^  (-\S+)(?: (\S+))?$`)
	listed  = regexp.MustCompile(`^ +((?:-\w, )?--\S+|[a-z][\w-]*\*?)(?: (\S+))?(?: {2,}(\S.*))?$`)
	further = regexp.MustCompile(`^(?: {4,}\t?| {12,})(\S.*)$`)
)

// items reads a list. nil is something else.
func items(block string) []item {
	var out []item
	for line := range strings.Lines(block) {
		line = strings.TrimRight(line, "\n ")
		if m := ours.FindStringSubmatch(line); m != nil {
			out = append(out, item{name: m[1], value: m[2]})
		} else if m := listed.FindStringSubmatch(line); m != nil && (strings.HasPrefix(m[1], "-") || m[2] == "" && m[3] != "") {
			out = append(out, item{m[1], m[2], m[3]})
		} else if m := further.FindStringSubmatch(line); m != nil && out != nil {
			last := &out[len(out)-1]
			last.text = strings.TrimSpace(last.text + " " + m[1])
		} else {
			return nil
		}
	}
	return out
}

// escape writes text so that man shows it as it is.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`, `"`, `\(dq`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
