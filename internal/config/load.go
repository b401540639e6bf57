package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"github.com/containerd/errdefs"
)

// ErrDone says that what the flags asked for has been printed (-print-config, -h)
// and the program ends well.
var ErrDone = errors.New("done")

// Checker is a configuration that knows more than types can say.
type Checker interface {
	// Check returns all faults of the configuration, joined. Each names its key.
	Check() error
}

// Source says where the values come from. Name is required.
type Source struct {
	Name string    // of the daemon
	File string    // TOML file; may be missing unless a flag or variable names it; empty is /etc/mos/NAME.toml
	Args []string  // the command line without the program's name
	Env  []string  // as of os.Environ
	Help string    // what -h says before the flags
	Out  io.Writer // for -print-config and -h; nil is standard output
}

// Load overwrites the defaults in cfg, a pointer to a struct as the package
// comment describes it, with the values of src, then calls its Check if it is a
// [Checker]. The flag -config, or the variable MOS_NAME_CONFIG, names the file. The
// error joins all faults and is an [errdefs.ErrInvalidArgument], or it is
// [ErrDone]. Arguments that are no flags are a fault.
func Load(src Source, cfg any) error {
	fields, err := fieldsOf(reflect.ValueOf(cfg).Elem(), nil)
	if err != nil {
		return err
	}
	l := &loader{src: src, cfg: cfg, fields: fields, prefix: envPrefix(src.Name)}
	if l.src.Out == nil {
		l.src.Out = os.Stdout
	}
	if l.src.File == "" {
		l.src.File = "/etc/mos/" + src.Name + ".toml"
	}
	l.defaults = make([]string, len(fields))
	for i, f := range fields {
		l.defaults[i] = valueTOML(f)
	}
	return l.load()
}

type loader struct {
	src      Source
	cfg      any
	fields   []field
	defaults []string // of fields, in TOML
	prefix   string   // of variables
	faults   []error
}

func (l *loader) load() error {
	flags, printIt, done := l.parseFlags()
	if done {
		return ErrDone
	}
	env := l.parseEnv()
	l.readFile(flags, env)
	for _, f := range l.fields {
		name := f.env(l.prefix)
		if v, ok := env[name]; ok {
			l.fault("environment "+name, set(f.value, v))
		}
		if v, ok := flags[f.key()]; ok {
			l.fault("flag -"+f.key(), set(f.value, v))
		}
	}
	if c, ok := l.cfg.(Checker); ok {
		if err := c.Check(); err != nil {
			l.faults = append(l.faults, err)
		}
	}
	if len(l.faults) > 0 {
		return fmt.Errorf("%w\n(%w)", errors.Join(l.faults...), errdefs.ErrInvalidArgument)
	}
	if !printIt {
		return nil
	}
	if _, err := io.WriteString(l.src.Out, l.reference()); err != nil {
		return err
	}
	return ErrDone
}

func (l *loader) fault(where string, err error) {
	if err != nil {
		l.faults = append(l.faults, fmt.Errorf("%s: %w", where, err))
	}
}

// parseFlags returns the flags given, by name.
func (l *loader) parseFlags() (given map[string]string, printIt, done bool) {
	given = map[string]string{}
	fl := flag.NewFlagSet(l.src.Name, flag.ContinueOnError)
	fl.SetOutput(io.Discard)
	fl.BoolVar(&printIt, "print-config", false, "print the configuration in force, with comments, and end")
	take := func(name, doc string) {
		fl.Func(name, doc, func(v string) error { given[name] = v; return nil })
	}
	take("config", "read this TOML `file` instead of "+l.src.File)
	for _, f := range l.fields {
		switch {
		case f.table:
		case f.value.Kind() == reflect.Bool:
			fl.BoolFunc(f.key(), f.doc, func(v string) error { given[f.key()] = v; return nil })
		default:
			take(f.key(), f.doc)
		}
	}
	err := fl.Parse(l.src.Args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fl.SetOutput(l.src.Out)
		_, _ = fmt.Fprint(fl.Output(), l.src.Help)
		fl.PrintDefaults()
		return given, printIt, true
	case err != nil:
		l.faults = append(l.faults, err)
	case fl.NArg() > 0:
		l.faults = append(l.faults, fmt.Errorf("argument %q is no flag", fl.Arg(0)))
	}
	return given, printIt, false
}

// parseEnv returns the variables that are ours, by name.
func (l *loader) parseEnv() map[string]string {
	known := map[string]bool{l.prefix + "CONFIG": true}
	for _, f := range l.fields {
		if !f.table {
			known[f.env(l.prefix)] = true
		}
	}
	given := map[string]string{}
	for _, e := range l.src.Env {
		name, v, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, l.prefix) {
			continue
		}
		if !known[name] {
			l.faults = append(l.faults, fmt.Errorf("environment %s: %s knows no such variable", name, l.src.Name))
		}
		given[name] = v
	}
	return given
}

// readFile reads the file into the configuration. Only the default one may be
// missing.
func (l *loader) readFile(flags, env map[string]string) {
	name, named := flags["config"]
	if !named {
		name, named = env[l.prefix+"CONFIG"]
	}
	if !named {
		name = l.src.File
	}
	data, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
	case err != nil:
		l.faults = append(l.faults, fmt.Errorf("configuration: %w", err))
	default:
		l.faults = append(l.faults, decodeTOML(name, data, l.cfg)...)
	}
}

func envPrefix(daemon string) string {
	name := strings.TrimPrefix(daemon, "mos-")
	return "MOS_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_"
}
