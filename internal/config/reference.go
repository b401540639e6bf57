package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// width is where comments of the reference file wrap.
const width = 78

// Reference returns the commented file of a configuration that holds its
// defaults, as -print-config prints it.
func Reference(name string, defaults any) (string, error) {
	var out strings.Builder
	err := Load(Source{Name: name, File: "/dev/null", Args: []string{"-print-config"}, Out: &out}, defaults)
	if !errors.Is(err, ErrDone) {
		return "", err
	}
	return out.String(), nil
}

// reference prints the configuration in force as a file. Values that are the
// defaults are commented out.
func (l *loader) reference() string {
	var b strings.Builder
	comment(&b, fmt.Sprintf("Configuration of %s. Every key is optional; commented values are the defaults. A variable wins over this file, a flag over both.", l.src.Name))
	for i, f := range l.fields {
		b.WriteByte('\n')
		comment(&b, f.doc)
		if f.table {
			fmt.Fprintf(&b, "[%s]\n", f.key())
			continue
		}
		fmt.Fprintf(&b, "# Flag -%s, variable %s\n", f.key(), f.env(l.prefix))
		value := valueTOML(f)
		if value == l.defaults[i] {
			b.WriteByte('#')
		}
		b.WriteString(value)
	}
	return b.String()
}

// valueTOML returns the line of a key, with its line end.
func valueTOML(f field) string {
	if f.table {
		return ""
	}
	v := f.value.Interface()
	data, err := toml.Marshal(map[string]any{f.path[len(f.path)-1]: v})
	if err != nil {
		return fmt.Sprintf("%s = %v # %v\n", f.path[len(f.path)-1], v, err)
	}
	return string(data)
}

func comment(b *strings.Builder, text string) {
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
