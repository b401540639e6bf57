package lvm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// commandError is a failed command: a sentence for people, a class for code,
// and the [xexec.Error], whose long words it does not repeat.
type commandError struct {
	sentence string
	class    error
	cause    *xexec.Error
}

func (e *commandError) Error() string   { return e.sentence }
func (e *commandError) Unwrap() []error { return []error{e.class, e.cause} }

func failed(class error, cause *xexec.Error, format string, args ...any) error {
	return &commandError{sentence: fmt.Sprintf(format, args...), class: class, cause: cause}
}

// rule says what a line of lvm's standard error means.
type rule struct {
	line  *regexp.Regexp
	class error
	do    string // what to do about it
}

// rules are tried in this order, each on all lines: the first that fits is the
// cause. The texts are those of lvm 2.03.16 and 2.03.31, see testdata.
func rules() []rule {
	r := func(line string, class error, do string) rule {
		return rule{regexp.MustCompile(`(?i)` + line), class, do}
	}
	return []rule{
		r(`exceeds maximum metadata size|metadata too large|Insufficient .*metadata space|no space for new metadata|Failed to write VG .*metadata.*full`, errdefs.ErrResourceExhausted,
			"the metadata area of the group's devices is full: remove volumes, or move them to a group made with a larger one"),
		r(`above threshold, new volumes are not allowed|free space in pool .* is`, errdefs.ErrResourceExhausted, "extend the thin pool or purge volumes"),
		r(`insufficient (suitable |allocatable )?(free )?(space|extents|allocatable)|not enough (free )?(extents|space|PVs)|insufficient free|Insufficient suitable`, errdefs.ErrResourceExhausted,
			"add a device to the group, remove volumes or ask for less"),
		r(`number of stripes .* must not exceed`, errdefs.ErrInvalidArgument, "ask for fewer stripes or add devices to the group"),
		r(`contains a filesystem in use|logical volume .* in use|logical volume .* is used by another device|device or resource busy`, errdefs.ErrFailedPrecondition, "unmount it in all mount namespaces first"),
		r(`is used by another device`, errdefs.ErrFailedPrecondition, "see dmsetup ls --tree for what uses it"),
		r(`PVs? (are|is) missing|missing PV|couldn't find device|there are still partial LVs|partial (volume group|LV)`, errdefs.ErrFailedPrecondition,
			"a device of the group is missing: bring it back, or see vgreduce --removemissing"),
		r(`system ID`, errdefs.ErrFailedPrecondition, "the group belongs to another host"),
		r(`reload ioctl on .* failed: No data available`, errdefs.ErrDataLoss, "the thin pool has no such device: power was lost before it had, or the pool was repaired"),
		r(`already contain thin device`, errdefs.ErrFailedPrecondition, "a killed command left a device in the thin pool: remove it with dmsetup message"),
		r(`manual repair required|check of pool .* failed|unexpected transaction|transaction_id mismatch|needs check|needs_check`, errdefs.ErrFailedPrecondition,
			"the thin pool must be repaired while it is not active: see lvconvert --repair"),
		r(`device-mapper (kernel )?driver|Incompatible libdevmapper|communicate with kernel device-mapper`, errdefs.ErrFailedPrecondition, "the kernel has no device mapper: use the loop backend"),
		r(`already exists|already in use|new names? must differ`, errdefs.ErrAlreadyExists, "choose another name"),
		r(`is already in volume group|is used by VG|is still in use|still used by`, errdefs.ErrFailedPrecondition, "take it from its volume group first"),
		r(`signature detected|not wiped|aborted wiping|is partitioned|is excluded|mounted filesystem|can't open .* exclusively|device is too small|cannot use /dev/`,
			errdefs.ErrFailedPrecondition, "choose another device, or wipe this one with wipefs -a if nothing on it is needed"),
		r(`contain(s|ing) .* logical volumes|still contains|volume group .* not removed`, errdefs.ErrFailedPrecondition, "remove its volumes first"),
		r(`can't get lock|failed to lock|lock .*(failed|timed out)|locking .*fail|resource temporarily unavailable`, errdefs.ErrUnavailable, "another command holds LVM's lock: try again"),
		r(`no device found|device .* not found|no devices file entry`, errdefs.ErrNotFound, "check the device's path"),
		r(`failed to find|not found|does not exist|no such`, errdefs.ErrNotFound, "see docker mos volume ls for what there is"),
		r(`not larger than existing|reserved|invalid|must be|please specify`, errdefs.ErrInvalidArgument, ""),
	}
}

// Exit codes of lvm, of lib/commands/errors.h.
const (
	exitInvalid = 3
	exitNoInit  = 4
)

// mapError gives the error of a command its class and its sentence; doing says
// what the command was for.
func mapError(doing string, err error) error {
	if err == nil {
		return nil
	}
	var e *xexec.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if e.Code < 0 {
		return noCode(doing, e)
	}
	lines := told(e.Stderr)
	for _, r := range rules() {
		for _, l := range lines {
			if !r.line.MatchString(l) {
				continue
			}
			if r.do == "" {
				return failed(r.class, e, "%s: %s", doing, l)
			}
			return failed(r.class, e, "%s: %s: %s", doing, l, r.do)
		}
	}
	var class error = errdefs.ErrInternal
	switch e.Code {
	case exitInvalid:
		class = errdefs.ErrInvalidArgument
	case exitNoInit:
		class = errdefs.ErrUnavailable
	}
	return failed(class, e, "%s: %s ended with code %d: %s", doing, program(e), e.Code, strings.Join(lines, "; "))
}

// noCode is for a command that did not start or was killed.
func noCode(doing string, e *xexec.Error) error {
	switch {
	case errors.Is(e, context.DeadlineExceeded), errors.Is(e, context.Canceled):
		return failed(errdefs.ErrUnavailable, e, "%s: no answer from %s in time (%v): another command may hold LVM's lock, or a device hangs", doing, program(e), e.Err)
	case strings.Contains(fmt.Sprint(e.Err), "not found"), strings.Contains(fmt.Sprint(e.Err), "no such file"):
		return failed(errdefs.ErrUnavailable, e, "%s: %s is not installed: install lvm2", doing, program(e))
	}
	return failed(errdefs.ErrUnavailable, e, "%s: %s was cut: %v", doing, program(e), e.Err)
}

// program returns the program with its verb; the rest of the arguments would
// bury the sentence.
func program(e *xexec.Error) string {
	return strings.Join(e.Argv[:min(2, len(e.Argv))], " ")
}

// told returns the lines of lvm's standard error that are no warnings, without
// a full stop at the end.
func told(stderr string) []string {
	var lines []string
	for l := range strings.Lines(stderr) {
		l = strings.TrimSuffix(strings.TrimSpace(l), ".")
		if l == "" || strings.HasPrefix(l, "WARNING") {
			continue
		}
		lines = append(lines, l)
	}
	return lines
}
