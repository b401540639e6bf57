package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// slack is how much later than asked for a thread may be woken by a timer. Go's runtime
// looks after itself each 20 µs while anything runs, which was a fifth of what mosd took;
// nothing here wants to be woken to the millisecond.
const slack = time.Millisecond

// loosen gives the threads that there are more slack, and so those that they start. Only
// root may; without it nothing is lost but some CPU time.
func loosen() error {
	threads, err := filepath.Glob("/proc/self/task/[0-9]*")
	for _, dir := range threads {
		// The file is in no task folder, but a thread has a folder of its own below /proc.
		werr := os.WriteFile(slackOf(filepath.Base(dir)), []byte(strconv.FormatInt(slack.Nanoseconds(), 10)), 0)
		if !errors.Is(werr, os.ErrNotExist) { // it has ended
			err = errors.Join(err, werr)
		}
	}
	if err != nil {
		return fmt.Errorf("timers stay as exact as they are: %w", err)
	}
	return nil
}

func slackOf(thread string) string { return filepath.Join("/proc", thread, "timerslack_ns") }
