package machine

import (
	"fmt"
	"strings"
	"testing"
)

// TestWhatAnEmulatorBrokeIsTriedAgain however long the kernel's report of it is.
func TestWhatAnEmulatorBrokeIsTriedAgain(t *testing.T) {
	for oops, want := range map[string]bool{"Oops: int3: 0000 [#1] PREEMPT SMP NOPTI": true, "BUG: kernel NULL pointer dereference": false} {
		console := "[    1.0] " + oops + "\n" + strings.Repeat("[    1.0]  ? vfs_write+0x313/0x440\n", 80) + "[    1.1] Kernel panic - not syncing: Fatal exception in interrupt\n"
		err := fmt.Errorf("%s\n%s", cause(console), tail(console, 60))
		if got := emulators(err); got != want {
			t.Errorf("%s: tried again %v, want %v", oops, got, want)
		}
	}
}
