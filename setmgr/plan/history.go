package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Revision is one container that a member was, or is.
type Revision struct {
	Member  string    `json:"-"`
	Rev     int       `json:"rev"`
	At      time.Time `json:"at"` // when its container was made
	ImageID string    `json:"id"`
	// Spec is its part of the set's spec, as JSON.
	Spec json.RawMessage `json:"spec"`
	// Change is in what it differs from the revision before, "" of the first known.
	Change  string `json:"-"`
	Current bool   `json:"-"`
}

// Image is its image as it was named.
func (r Revision) Image() string {
	var s struct {
		Image string `json:"Image"`
	}
	_ = json.Unmarshal(r.Spec, &s) // "" of a label that says nothing
	return s.Image
}

// What a container's label holds of those before it: so many, in so many bytes. The
// whole of an argument of docker create may have 128 KiB.
const (
	historyLength = 10
	historyBytes  = 48 << 10
)

// past are the revisions that a container's label tells, the newest first. A label
// that cannot be read tells of none.
func (c Container) past() []Revision {
	var out []Revision
	_ = json.Unmarshal([]byte(c.History), &out)
	for i := range out {
		out[i].Member = c.Member
	}
	return out
}

func (c Container) revision() Revision {
	return Revision{Member: c.Member, Rev: c.Rev, At: c.Created.UTC().Truncate(time.Second), ImageID: c.ImageID, Spec: json.RawMessage(c.Spec), Current: true}
}

// historyAfter is the label of a container that takes the place of old: what old
// was comes first, unless it was the same.
func historyAfter(old Container, hash, image string) string {
	past := old.past()
	if (old.Hash != hash || old.ImageID != image) && json.Valid([]byte(old.Spec)) {
		past = append([]Revision{old.revision()}, past...)
	}
	past = past[:min(len(past), historyLength)]
	for len(past) > 0 {
		text, err := json.Marshal(past)
		if err == nil && len(text) <= historyBytes {
			return string(text)
		}
		past = past[:len(past)-1]
	}
	return ""
}

// History is what the members of a set were, by index and name and the newest first.
func History(set string, o Observed) []Revision {
	var out []Revision
	members := o.inService(set)
	slices.SortStableFunc(members, func(a, b Container) int { return a.Index - b.Index })
	for _, c := range members {
		of := append([]Revision{c.revision()}, c.past()...)
		for i, r := range of {
			if i+1 < len(of) {
				r.Change = r.since(of[i+1])
			}
			out = append(out, r)
		}
	}
	return out
}

// since says in what a revision differs from the one before it.
func (r Revision) since(before Revision) string {
	c, err := spec.DecodeContainer(string(r.Spec))
	if err != nil {
		return ""
	}
	was := before.Image()
	keys := slices.DeleteFunc(memberDiff(Container{Spec: string(before.Spec)}, c), func(k string) bool { return k == "Image" })
	var out []string
	switch {
	case c.Image != was:
		out = append(out, fmt.Sprintf("image %s, was %s", c.Image, was))
	case r.ImageID != before.ImageID:
		out = append(out, "image "+c.Image+" was another")
	}
	if len(keys) > 0 {
		out = append(out, "another "+strings.Join(keys, ", "))
	}
	return strings.Join(out, "; ")
}

// Revert finds a revision of a member, 0 the one before its current: as a spec, with
// the limits and the way of updates that the member has now. An error is of class
// NotFound.
func Revert(s spec.Set, o Observed, member string, rev int) (spec.Container, Revision, error) {
	now, ok := named(s, member)
	if !ok {
		return now, Revision{}, NoMember(s, member)
	}
	var known []string
	for _, r := range History(s.Name, o) {
		if r.Member != member || r.Current {
			continue
		}
		known = append(known, strconv.Itoa(r.Rev))
		if rev != 0 && r.Rev != rev {
			continue
		}
		c, err := spec.DecodeContainer(string(r.Spec))
		if err != nil {
			return c, r, fault.Unavailable("revision %d of container %s: %w", r.Rev, member, err)
		}
		to, from := &c.Options, now.Options
		to.CPU, to.MEM, to.Cores, to.Memory, to.Update = from.CPU, from.MEM, from.Cores, from.Memory, from.Update
		return c, r, nil
	}
	if len(known) == 0 {
		return now, Revision{}, fault.NotFound("container %s of set %s has no earlier revision", member, s.Name)
	}
	return now, Revision{}, fault.NotFound("container %s of set %s has no earlier revision %d: it has %s", member, s.Name, rev, strings.Join(known, ", "))
}
