package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// Space is what a place has to give.
type Space struct {
	Name string
	// Size is what the place holds now, and Growth by how much it can grow by
	// itself.
	Size, Growth uint64
	// Promised is the sum of the sizes of what is there, snapshots included.
	Promised uint64
	// Free is what can be had, for places that promise only what they have.
	Free uint64
	// Coming is what is there, or no longer promised, only when purges under way
	// are over.
	Coming uint64
	// Ratio is how much of Size and Growth may be promised; 0 stands for places
	// where a promise is an allocation.
	Ratio float64
	// Spare is kept free.
	Spare uint64
	// Refuse says why nothing is given for the moment.
	Refuse string
}

// Limit is the most that may be promised.
func (s Space) Limit() uint64 {
	if s.Ratio == 0 {
		return less(s.Promised+s.Free, s.Spare)
	}
	return less(uint64(float64(s.Size+s.Growth)*s.Ratio), s.Spare)
}

func less(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

// freeing is an error of class Unavailable for room that is coming.
type freeing struct{ sentence string }

func (e *freeing) Error() string { return e.sentence }
func (e *freeing) Unwrap() error { return errdefs.ErrUnavailable }

// Freeing says of an error of Admit that there is room as soon as the purges
// under way are over.
func Freeing(err error) bool {
	_, yes := errors.AsType[*freeing](err)
	return yes
}

// exhausted is an error of class ResourceExhausted with only the sentence.
type exhausted struct{ sentence string }

func (e *exhausted) Error() string { return e.sentence }
func (e *exhausted) Unwrap() error { return errdefs.ErrResourceExhausted }

// Admit says whether a place can promise so many bytes more. Without room it
// names the volumes of the recycle bin, oldest first, whose purge makes some;
// when even all of them are too few the error is of class ResourceExhausted. Room
// that is coming is waited for, see [Freeing], before more is purged. Of one age the snapshots go first: one without its volume is of no use.
func (s Space) Admit(need uint64, bin []spec.Volume) (purge []spec.Volume, err error) {
	if s.Refuse != "" {
		return nil, &exhausted{fmt.Sprintf("%s takes no more: %s", s.Name, s.Refuse)}
	}
	room := less(s.Limit(), s.Promised)
	now := less(room, s.Coming)
	bin = slices.Clone(bin)
	slices.SortFunc(bin, func(a, b spec.Volume) int {
		return cmp.Or(a.Since.Compare(b.Since), -strings.Compare(a.Snapshot, b.Snapshot), strings.Compare(string(a.ID), string(b.ID)))
	})
	for _, v := range bin {
		if room >= need {
			break
		}
		purge = append(purge, v)
		room += v.Size
		now += v.Size
	}
	if room < need {
		return nil, &exhausted{s.refusal(need, room, bin)}
	}
	if now < need {
		return nil, &freeing{fmt.Sprintf("%s has room for %s, not for %s, until the %s of removed volumes are given back, which is under way: try again then", s.Name, spec.Bytes(now), spec.Bytes(need), spec.Bytes(s.Coming))}
	}
	return purge, nil
}

func (s Space) refusal(need, room uint64, bin []spec.Volume) string {
	msg := fmt.Sprintf("%s has room for %s, not for %s", s.Name, spec.Bytes(room), spec.Bytes(need))
	if s.Ratio == 0 && s.Spare > 0 {
		msg += fmt.Sprintf(", beside the %s that stay free", spec.Bytes(s.Spare))
	}
	if s.Ratio != 0 {
		msg += fmt.Sprintf(": %s of at most %s are promised", spec.Bytes(s.Promised), spec.Bytes(s.Limit()))
	}
	if len(bin) > 0 {
		msg += ", also after all of the recycle bin would be purged"
	}
	if s.Ratio == 0 {
		return msg + ": ask for less, remove volumes, or make room there (docker mos volume pool)"
	}
	return msg + ": ask for less, remove volumes, add a disk, or raise overcommit (docker mos volume pool)"
}

// Expired are the volumes of the recycle bin that are older than keep.
func Expired(bin []spec.Volume, keep time.Duration, now time.Time) []spec.Volume {
	var out []spec.Volume
	for _, v := range bin {
		if now.Sub(v.Since) >= keep {
			out = append(out, v)
		}
	}
	return out
}
