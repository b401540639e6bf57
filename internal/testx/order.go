package testx

import (
	"fmt"
	"strings"
	"time"
)

// Started is the format of docker inspect whose lines [InOrder] reads.
const Started = "{{.State.Running}} {{.State.StartedAt}}"

// InOrder checks that containers run, each started after the one ahead of it.
func InOrder(lines string) error {
	var last time.Time
	for line := range strings.Lines(lines) {
		running, at, _ := strings.Cut(strings.TrimSpace(line), " ")
		started, err := time.Parse(time.RFC3339Nano, at)
		if err != nil || running != "true" || started.Before(last) {
			return fmt.Errorf("started or not in the order of\n%s", lines)
		}
		last = started
	}
	if last.IsZero() {
		return fmt.Errorf("nobody was started: %q", lines)
	}
	return nil
}
