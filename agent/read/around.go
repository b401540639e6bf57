package read

import (
	"bytes"
	"fmt"
	"os"
	"path"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/metric"
)

// NewAround is a source of nothing but whether anything moved in a cgroup that has others
// in it: what CPU time and memory they use together. It is sampled before these are.
func NewAround(t cgroup.Tree, o *metric.Object) (*Source, error) {
	s := &Source{Point: metric.NewPoint(o), group: true, sums: sums(t, o.Cgroup)}
	files := version1
	if t.Unified {
		files = version2
	}
	for i := range files {
		f := &files[i]
		if dir := t.Dir(f.controller, o.Cgroup); f.when == within && dir != "" {
			if err := s.keep(f, path.Join(dir, f.name)); err != nil {
				s.Close()
				return nil, err
			}
		}
	}
	if len(s.kept) < 2 || !s.sums {
		s.Close()
		return nil, fmt.Errorf("cgroup %s: it does not count what is in it: %w", o.Cgroup, os.ErrNotExist)
	}
	return s, nil
}

// sums says that a cgroup counts the memory of those in it: version 1 did only where it was
// told to, until Linux 5.11.
func sums(t cgroup.Tree, cgroup string) bool {
	if t.Unified {
		return true
	}
	told, err := os.ReadFile(path.Join(t.Dir("memory", cgroup), "memory.use_hierarchy"))
	return err != nil || bytes.HasPrefix(told, []byte("1"))
}

// Within says which source has the cgroup around this one, nil for none. As long as nothing
// moves in that, CPU time and memory of this one are what they were, and are not read.
func (s *Source) Within(around *Source) { s.around = around }

// calm says that CPU time and memory are those of the last sample.
func (s *Source) calm() bool {
	return s.around != nil && s.around.still && s.Point.Series[metric.CPUUsage].OK && s.Point.Series[metric.MemUsage].OK
}

// isStill compares with what was used before.
func (s *Source) isStill(usage, memory metric.Series) bool {
	return s.sums && usage.OK && memory.OK && s.Point.Series[metric.CPUUsage] == usage && s.Point.Series[metric.MemUsage] == memory
}

// Open says that it was not closed.
func (s *Source) Open() bool { return s.kept != nil }
