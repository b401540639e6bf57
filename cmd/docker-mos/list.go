package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/docker/cli/templates"
	"github.com/spf13/cobra"
)

// column is one thing that a list tells of its objects.
type column[T any] struct {
	name   string // in templates: {{.Name}}
	header string // in tables
	value  func(T) string
	extra  bool // only when a template asks for it
	whole  bool // never cut: a name may look like an id

	wholeIf func(T) bool // whole for some objects only, nil for none
}

// list is how objects of one kind are listed, docker's way.
type list[T any] struct {
	columns []column[T]
	id      func(T) string      // what -q prints; nil: no -q
	named   bool                // what -q prints is a name, not an id
	filters []filter[T]         // by key
	values  map[string][]string // of filters that have few, to be offered
	empty   string              // remark for a table without rows
	object  func(T) any         // what --format json prints of an object, nil for the object

	quiet, noTrunc bool
	format         string
	given          []string
	by             string // the plugin whose command prints it
}

// filter is one key of --filter.
type filter[T any] struct {
	key     string
	matches func(t T, value string) bool
}

// byName is the filter for names as Docker has it: a value matches any part of a
// name, and may be a regular expression.
func byName[T any](name func(T) string) filter[T] {
	return filter[T]{"name", func(t T, value string) bool {
		found, err := regexp.MatchString(value, name(t))
		return name(t) == value || err == nil && found
	}}
}

// checkFilter refuses values that would silently match nothing.
func checkFilter(key, value string) error {
	switch key {
	case "name":
		if _, err := regexp.Compile(value); err != nil {
			return usage("--filter name=%s is no pattern: %s", value, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
	case "mounted":
		if value != "true" && value != "false" {
			return usage("--filter mounted=%s is neither true nor false", value)
		}
	case "level":
		if !slices.Contains([]string{"info", "warn", "error"}, value) {
			return usage("--filter level=%s is none of info, warn, error", value)
		}
	}
	return nil
}

// flags adds the flags that the list understands.
func (l *list[T]) flags(cmd *cobra.Command) {
	var names []string
	for _, c := range l.columns {
		names = append(names, "."+c.name)
	}
	cmd.Flags().StringVar(&l.format, "format", "table", `"table", "table TEMPLATE", "json", or a Go template`)
	about := []string{cmd.Short + "."}
	if cmd.Long != "" {
		about = append(about, cmd.Long)
	}
	cmd.Long = strings.Join(append(about, "Fields of --format: "+strings.Join(names, ", ")+"."), "\n\n")
	complete(cmd, "format", "table", "json")
	cmd.Flags().BoolVar(&l.noTrunc, "no-trunc", false, "Do not cut ids")
	if l.id != nil {
		what := "ids"
		if l.named {
			what = "names"
		}
		cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "Only print "+what)
	}
	if l.filters != nil {
		var keys []string
		for _, f := range l.filters {
			keys = append(keys, f.key)
		}
		help := "Only what has KEY=VALUE; keys are " + strings.Join(keys, ", ")
		if slices.Contains(keys, "name") {
			help += "; a part of the name is enough"
		}
		cmd.Flags().StringArrayVarP(&l.given, "filter", "f", nil, help)
		// The only error is a second registration, which no command makes.
		_ = cmd.RegisterFlagCompletionFunc("filter", l.completeFilter)
	}
}

// completeFilter offers keys, and values of those that have few.
func (l *list[T]) completeFilter(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, f := range l.filters {
		if !strings.HasPrefix(word, f.key+"=") {
			out = append(out, f.key+"=")
			continue
		}
		var values []string
		for _, v := range l.values[f.key] {
			values = append(values, f.key+"="+v)
		}
		return values, cobra.ShellCompDirectiveNoFileComp
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// check refuses flags that cannot be understood before anything is asked.
func (l *list[T]) check() error {
	for _, g := range l.given {
		key, value, ok := strings.Cut(g, "=")
		if !ok {
			return usage("--filter %s is not of the form KEY=VALUE", g)
		}
		var keys []string
		for _, f := range l.filters {
			keys = append(keys, f.key)
		}
		if !slices.Contains(keys, key) {
			return usage("--filter %s is not known: keys are %s", key, strings.Join(keys, ", "))
		}
		if err := checkFilter(key, value); err != nil {
			return err
		}
	}
	if l.format == "json" {
		return nil
	}
	_, _, err := l.template()
	return err
}

// template parses the format; table says that columns are to be aligned under
// headers.
func (l *list[T]) template() (t *template.Template, table bool, err error) {
	text, table := strings.CutPrefix(cmp.Or(l.format, "table"), "table")
	switch {
	case l.quiet, table && text == "":
		var names []string
		for _, c := range l.columns {
			if !c.extra {
				names = append(names, "{{."+c.name+"}}")
			}
		}
		text = strings.Join(names, "\t")
	case table && !strings.HasPrefix(text, " "):
		text, table = l.format, false
	}
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(strings.TrimSpace(text))
	t, err = templates.New("format").Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, false, badFormat(err)
	}
	row := map[string]string{}
	for _, c := range l.columns {
		row[c.name] = ""
	}
	if err := t.Execute(io.Discard, row); err != nil && strings.Contains(err.Error(), "map has no entry") {
		return nil, false, badFormat(err)
	}
	return t, table, nil
}

// These are words of Go's templates that mean nothing to users.
var (
	noGoField  = regexp.MustCompile(`can't evaluate field (\w+) in type`)
	nothingIn  = regexp.MustCompile(`at <\.?(.*)\.(\w+)>: nil pointer evaluating`)
	noField    = regexp.MustCompile(`map has no entry for key "(.*)"$`)
	inTemplate = regexp.MustCompile(`^template: format:[0-9:]+ (executing "format" )?`)
)

// badFormat says what is wrong with a template.
func badFormat(err error) error {
	if m := noField.FindStringSubmatch(err.Error()); m != nil {
		return usage("--format: there is no field .%s", m[1])
	}
	if m := noGoField.FindStringSubmatch(err.Error()); m != nil {
		return usage("--format: there is no field .%s", m[1])
	}
	if m := nothingIn.FindStringSubmatch(err.Error()); m != nil {
		return usage("--format: .%s is not known of this one: {{with .%[1]s}}{{.%s}}{{end}} leaves it out", m[1], m[2])
	}
	return usage("--format: %s", inTemplate.ReplaceAllString(err.Error(), ""))
}

// print lists the objects that the filters let through.
func (l *list[T]) print(cmd *cobra.Command, objects []T) error {
	l.by = pluginOf(cmd)
	return l.to(cmd.OutOrStdout(), cmd.ErrOrStderr(), objects)
}

// to is print to other streams.
func (l *list[T]) to(out, errs io.Writer, objects []T) error {
	some := len(objects) > 0
	objects = slices.DeleteFunc(slices.Clone(objects), func(t T) bool { return !l.wanted(t) })
	if l.quiet {
		for _, o := range objects {
			if _, err := fmt.Fprintln(out, l.cut(l.id(o), l.named)); err != nil {
				return err
			}
		}
		return nil
	}
	if l.format == "json" {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		for _, o := range objects {
			out := any(o)
			if l.object != nil {
				out = l.object(o)
			}
			if err := enc.Encode(out); err != nil {
				return err
			}
		}
		return nil
	}
	t, table, err := l.template()
	if err != nil {
		return err
	}
	if table && len(objects) == 0 && l.empty != "" && !some {
		remarkBy(errs, cmp.Or(l.by, "mos"), "%s", l.empty)
		return nil
	}
	return l.rows(out, t, table, objects)
}

func (l *list[T]) rows(out io.Writer, t *template.Template, table bool, objects []T) error {
	var b bytes.Buffer
	if table {
		head := map[string]string{}
		for _, c := range l.columns {
			head[c.name] = c.header
		}
		h, err := t.Clone()
		if err != nil {
			return err
		}
		if err := h.Funcs(templates.HeaderFunctions).Execute(&b, head); err != nil {
			return badFormat(err)
		}
		b.WriteByte('\n')
	}
	for _, o := range objects {
		row := map[string]string{}
		for _, c := range l.columns {
			row[c.name] = l.cut(c.value(o), c.whole || c.wholeIf != nil && c.wholeIf(o))
		}
		if err := t.Execute(&b, row); err != nil {
			return badFormat(err)
		}
		b.WriteByte('\n')
	}
	if !table {
		_, err := out.Write(b.Bytes())
		return err
	}
	w := tabwriter.NewWriter(out, 10, 1, 3, ' ', 0) // as docker's tables
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	return w.Flush()
}

// cut shortens ids, which have 64 hex digits as only names of volumes have, too.
func (l *list[T]) cut(s string, whole bool) string {
	if !whole && !l.noTrunc && len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" {
		return s[:12]
	}
	return s
}

// wanted joins the values of one key by or, and the keys by and.
func (l *list[T]) wanted(t T) bool {
	for _, f := range l.filters {
		asked, found := false, false
		for _, g := range l.given {
			if key, value, _ := strings.Cut(g, "="); key == f.key {
				asked = true
				found = found || f.matches(t, value)
			}
		}
		if asked && !found {
			return false
		}
	}
	return true
}
