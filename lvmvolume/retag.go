package lvmvolume

import (
	"slices"

	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// retag is one command that changes the tags of volumes.
type retag struct{ lvs, add, del, keep []string }

// retags puts the volumes that get the same tags into one command. What is taken
// from one of them is taken from all: LVM does not mind that others lack it, and
// who has it for good gets a command of its own.
func retags(was, now []spec.Volume) []*retag {
	var out []*retag
	for i := range was {
		add, del := spec.Retag(was[i], now[i])
		if len(add)+len(del) == 0 {
			continue
		}
		keep := now[i].Tags()
		fits := func(c *retag) bool { return slices.Equal(c.add, add) && !overlap(c.keep, del) && !overlap(c.del, keep) }
		j := slices.IndexFunc(out, fits)
		if j < 0 {
			j = len(out)
			out = append(out, &retag{add: add})
		}
		c := out[j]
		c.lvs, c.keep = append(c.lvs, was[i].ID.Label()), append(c.keep, keep...)
		for _, t := range del {
			if !slices.Contains(c.del, t) {
				c.del = append(c.del, t)
			}
		}
	}
	return out
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(b, func(s string) bool { return slices.Contains(a, s) })
}
