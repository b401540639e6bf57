package spec

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/mosdocker/mosdocker/setmgr/label"
)

// Check says all that is wrong with a set, a line each: the JSON pointer of what it
// is about, and what to do. The error is of class InvalidArgument.
func (s Set) Check() error {
	var f flaws
	f.set(&s)
	return f.err("")
}

// The longest and the shortest of names: SET.MEMBER is the name of a container, which
// for an Engine has two characters at least.
const (
	shortestName = 2
	longestName  = 40
)

// reserved is the part of a container's name that the infra container has.
const reserved = "infra"

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func (f *flaws) set(s *Set) {
	f.name("/Name", "the set", s.Name)
	f.networks(s)
	f.volume(s)
	f.shared(s)
	f.image("/Infra/Image", s.Infra.Image)
	f.labels("", s.Labels, s.Annotations)
	if len(s.Containers) == 0 {
		f.add("/Containers", "the set has no containers: give it one at least, with Name and Image")
	}
	f.totals(s)
	f.cgroup("/Cgroup", s.Cgroup)
	names := map[string]int{}
	for i, c := range s.Containers {
		path := index("/Containers", i)
		f.container(s, c, path)
		if first, ok := names[c.Name]; ok && c.Name != "" {
			f.add(path+"/Name", "container %d of the set has the name %.60q too: give each its own", first+1, c.Name)
			continue
		}
		names[c.Name] = i
	}
	f.order(s.Containers, names)
}

func (f *flaws) name(path, what, name string) {
	switch {
	case name == "":
		f.add(path, "%s has no name: give it one of %d to %d letters, digits, '_' and '-'", what, shortestName, longestName)
	case len(name) < shortestName || len(name) > longestName:
		f.add(path, "the name %.60q has %d characters: %d to %d are possible", name, len(name), shortestName, longestName)
	case !word(name, "_-"):
		f.add(path, "%q is no name: it begins with a letter or digit and has only letters, digits, '_' and '-'", name)
	}
}

// word says whether s begins with a letter or digit and has only those and others.
func word(s, others string) bool {
	return s != "" && strings.Trim(s, letters+digits+others) == "" && strings.Trim(s[:1], letters+digits) == ""
}

// line says whether s is printable ASCII without blanks.
func line(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// image refuses what is no reference; an empty one is looked at elsewhere.
func (f *flaws) image(path, image string) {
	if image == "" {
		return
	}
	if _, err := reference.ParseAnyReference(image); err != nil {
		f.add(path, "%.100q is no image: %v: write one as docker run takes it, such as shop/app:41", image, err)
	}
}

func (f *flaws) labels(path string, labels, annotations map[string]string) {
	ours := []string{label.Set, label.Role, label.Member, label.Index, label.Rev, label.Hash, label.Spec, label.History, label.Cluster}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		switch {
		case !line(key) || strings.Contains(key, "="):
			f.add(join(path+"/Labels", key), "%.60q is no key of a label: take printable characters without blanks and '='", key)
		case slices.Contains(ours, key):
			f.add(join(path+"/Labels", key), "the label %s is how sets are found: choose another key", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if !line(key) || strings.Contains(key, "=") {
			f.add(join(path+"/Annotations", key), "%.60q is no key of an annotation: take printable characters without blanks and '='", key)
		}
	}
}

// The least that an Engine takes, and the most that we take for meant.
const (
	leastMemory Bytes = 6 << 20
	leastCores  Cores = 0.01
	mostCores   Cores = 8192
)

func (f *flaws) cores(path string, c Cores) {
	switch {
	case c == 0:
	case math.IsNaN(float64(c)) || c < leastCores:
		f.add(path, "%v cores are too few: give %v at least", c, leastCores)
	case c > mostCores:
		f.add(path, "%v cores are more than any machine has", c)
	case float64(c) != math.Round(float64(c)*1000)/1000:
		f.add(path, "%v cores are too exact: give three digits behind the point at most", c)
	}
}

func (f *flaws) memory(path string, b Bytes) {
	if b > 0 && b < leastMemory {
		f.add(path, "%v of memory is too little: an Engine wants %v at least", b, leastMemory)
	}
}

// totals checks the limits of the set, and what its containers have of them.
func (f *flaws) totals(s *Set) {
	f.cores("/CPU", s.CPU)
	f.memory("/MEM", s.MEM)
	const slack = 1e-6 // of floats
	var cpu, mem float64
	for i, c := range s.Containers {
		f.limits(s, c, index("/Containers", i))
		cpu += c.Options.CPU
		mem += c.Options.MEM
		if s.CPU > 0 && c.Options.CPU == 0 {
			cpu += 100 * float64(c.Options.Cores/s.CPU)
		}
		if s.MEM > 0 && c.Options.MEM == 0 {
			mem += 100 * float64(c.Options.Memory) / float64(s.MEM)
		}
	}
	if s.CPU > 0 && cpu > 100+slack && !s.Overcommit {
		f.add("/Containers", "the containers have %.6g %% of the set's %v cores: lower their CPU or Cores to 100 %% in all, give the set more CPU, or allow it with Overcommit", cpu, s.CPU)
	}
	if s.MEM > 0 && mem > 100+slack {
		f.add("/Containers", "the containers have %.6g %% of the set's %v of memory: lower their MEM or Memory to 100 %% in all, or give the set more MEM", mem, s.MEM)
	}
}

// limits checks those of one container.
func (f *flaws) limits(s *Set, c Container, path string) {
	o, at := c.Options, path+"/Options"
	percent := func(key string, p float64, total bool, other string, both bool) {
		switch {
		case p == 0:
		case math.IsNaN(p) || p < 0 || p > 100:
			f.add(at+"/"+key, "%v is no share: give more than 0 and at most 100 percent of the set", p)
		case both:
			f.add(at+"/"+key, "%s and %s say the same limit twice: drop one", key, other)
		case !total:
			f.add(at+"/"+key, "%v percent of what: give the set a %s at its top, or the container %s", p, key, other)
		}
	}
	percent("CPU", o.CPU, s.CPU > 0, "Cores", o.Cores > 0)
	percent("MEM", o.MEM, s.MEM > 0, "Memory", o.Memory > 0)
	f.cores(at+"/Cores", o.Cores)
	f.memory(at+"/Memory", o.Memory)
	if s.CPU > 0 && o.Cores > s.CPU {
		f.add(at+"/Cores", "%v cores are more than the %v of the set: lower it, or give the set more CPU", o.Cores, s.CPU)
	}
	if _, b := s.LimitsOf(c); o.MEM > 0 && o.MEM <= 100 && o.Memory == 0 && s.MEM >= leastMemory && b < leastMemory {
		f.add(at+"/MEM", "%v percent of %v is too little memory: an Engine wants %v at least", o.MEM, s.MEM, leastMemory)
	}
}
