package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// decodeTOML reads data into cfg and returns all faults, each with file and
// line. The decoder stops at a value of a wrong type, so its line is blanked
// and the rest read again, as long as it is TOML without that line.
func decodeTOML(name string, data []byte, cfg any) []error {
	if err := toml.Unmarshal(data, &map[string]any{}); err != nil {
		return []error{lineError(name, lineOf(data, err, cfg), err)}
	}
	var faults []error
	for {
		err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(cfg)
		var unknown *toml.StrictMissingError
		switch {
		case err == nil:
			return faults
		case errors.As(err, &unknown):
			for _, e := range unknown.Errors {
				line, _ := e.Position()
				faults = append(faults, fmt.Errorf("%s:%d: unknown key %s", name, line, strings.Join(e.Key(), ".")))
			}
			return faults
		}
		line := lineOf(data, err, cfg)
		faults = append(faults, lineError(name, line, err))
		if data = blank(data, line); toml.Unmarshal(data, &map[string]any{}) != nil {
			return faults
		}
	}
}

// lineOf returns the line of a wrong value. The decoder does not always tell when
// a text method refuses a value; then it is the last line of the shortest
// beginning of the file that is refused in the same words.
func lineOf(data []byte, err error, cfg any) int {
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := e.Position()
		return line
	}
	end := 0
	for n := 1; end < len(data); n++ {
		i := bytes.IndexByte(data[end:], '\n')
		if end += i + 1; i < 0 {
			end = len(data)
		}
		if part := toml.Unmarshal(data[:end], cfg); part != nil && part.Error() == err.Error() {
			return n
		}
	}
	return 0
}

func lineError(name string, line int, err error) error {
	e, ok := errors.AsType[*toml.DecodeError](err)
	if !ok {
		return fmt.Errorf("%s:%d: %w", name, line, err)
	}
	text := plainType(strings.TrimPrefix(e.Error(), "toml: "))
	if len(e.Key()) > 0 {
		text = "key " + strings.Join(e.Key(), ".") + ": " + text
	}
	return fmt.Errorf("%s:%d: %s", name, line, text)
}

// plainType takes the Go names out of "cannot decode TOML integer into struct
// field T.F of type string".
func plainType(text string) string {
	what, rest, ok := strings.Cut(text, " into struct field ")
	if !ok {
		return text
	}
	return what + " into a " + rest[strings.LastIndexByte(rest, ' ')+1:]
}

// blank returns data with an empty line in the place of a line, counted from 1.
func blank(data []byte, line int) []byte {
	lines := bytes.Split(data, []byte("\n"))
	if line < 1 || line > len(lines) {
		return nil
	}
	lines[line-1] = nil
	return bytes.Join(lines, []byte("\n"))
}
