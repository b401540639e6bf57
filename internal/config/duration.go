package config

import (
	"fmt"
	"time"
)

// Duration is a time.Duration that reads and writes "1m30s". Numbers without a
// unit and negative durations are refused. It is a struct because TOML would
// take 5 for five nanoseconds otherwise.
type Duration struct{ time.Duration }

// UnmarshalText sets d from text such as "250ms".
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 250ms, 10s or 1h30m", text)
	}
	if v < 0 {
		return fmt.Errorf("duration %s is negative", v)
	}
	d.Duration = v
	return nil
}

// MarshalText returns the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
