package read

import (
	"errors"
	"fmt"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/metric"
)

// Source is one object whose values are taken. One goroutine uses it.
type Source struct {
	Point *metric.Point
	// Errors counts files that could not be read for another reason than that
	// their object has ended.
	Errors uint64
	// Missing is how many files were not there when the source was made.
	Missing int

	kept    []kept
	group   bool // a cgroup: one that is removed gives ENODEV
	devices []device
	links   []link
	mounts  []mounted
	tcp     states
	around  *Source // of the cgroup around it; see Within
	sums    bool    // it counts all that is in it
	still   bool    // and nothing of that moved at the last sample
	ends    *Ends
	round   uint64 // number of the sample
	dev     uint64 // round in which the links were read last
	own     int    // links that there were then, without lo
	names   uint64 // of all links there were then
	// namespace is one more than the host's id of the network namespace, 0 for none, for which
	// it was asked at this list of ends.
	namespace int32
	asked     uint64
	quota     uint64
	last      struct {
		at    time.Time
		usage float64
	}
}

// NewContainer keeps the files of a container's or set's cgroup open. Files that
// the host's kernel does not have are left out.
func NewContainer(t cgroup.Tree, o *metric.Object) (*Source, error) {
	s := &Source{Point: metric.NewPoint(o), group: true, sums: o.Scope == metric.Set && sums(t, o.Cgroup)}
	files := version1
	if t.Unified {
		files = version2
	}
	for i := range files {
		f := &files[i]
		if o.Scope != metric.Container && f.controller == controllerProcs {
			continue
		}
		dir := t.Dir(f.controller, o.Cgroup)
		if f.controller == controllerProcs {
			dir = t.Dir("memory", o.Cgroup)
		}
		if dir == "" {
			continue
		}
		if err := s.keep(f, path.Join(dir, f.name)); err != nil {
			s.Close()
			return nil, err
		}
	}
	if len(s.kept) == 0 {
		return nil, fmt.Errorf("cgroup %s: none of its files is there: %w", o.Cgroup, unix.ENOENT)
	}
	return s, nil
}

func (s *Source) keep(f *file, name string) error {
	fd, err := open(name)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	if fd < 0 {
		s.Missing++
		return nil
	}
	s.kept = append(s.kept, kept{f, fd})
	return nil
}

// Close closes the files. Closing twice does nothing.
func (s *Source) Close() {
	for _, k := range s.kept {
		_ = unix.Close(k.fd) // it was only read
	}
	s.kept, s.still = nil, false
	s.tcp.close()
}

// Sample takes the values, of slow metrics too when all is set; lazy ones keep their
// values when nothing can have changed them. It returns false when the object has
// ended: its values then mean nothing, and the caller closes the source.
func (s *Source) Sample(b *Buffer, now time.Time, all bool) (alive bool) {
	busy := all || !s.group
	s.round++
	usage, memory, calm := s.Point.Series[metric.CPUUsage], s.Point.Series[metric.MemUsage], !all && s.calm()
	s.still = false
	s.Point.Forget(all, busy)
	if calm {
		s.Point.Series[metric.CPUUsage], s.Point.Series[metric.MemUsage] = usage, memory
	}
	for i := 0; i < len(s.kept); i++ {
		k := &s.kept[i]
		if k.when == slow && !all || k.when == within && calm || k.when == ran && !busy || k.when == moved && !busy && s.Point.Series[metric.MemUsage].Value == memory.Value {
			continue
		}
		if k.when == linked && !busy && s.ends.quiet(s) {
			s.keepLinks()
			continue
		}
		data, err := b.pread(k)
		switch {
		case err == nil:
			k.parse(s, data)
			if i == 0 && !busy && s.hasRun() {
				busy = true
				s.Point.ForgetLazy()
				k.parse(s, data) // some of it may be lazy
			}
		case s.group && errors.Is(err, unix.ENODEV):
			return false
		case errors.Is(err, unix.EOPNOTSUPP): // pressure that the kernel does not count
			_ = unix.Close(k.fd) // it was only read
			s.kept = append(s.kept[:i], s.kept[i+1:]...)
			i--
		default:
			s.Errors++
		}
	}
	if all {
		s.tcp.sample(s, b)
		s.space()
	}
	s.derive(now)
	s.still = s.isStill(usage, memory)
	return true
}

// hasRun reports whether the cgroup used CPU time since the last sample, or may have.
func (s *Source) hasRun() bool {
	v, ok := s.Point.Get(metric.CPUUsage)
	return !ok || s.last.at.IsZero() || v != s.last.usage
}

// derive computes what follows from other values.
func (s *Source) derive(now time.Time) {
	p := s.Point
	usage, ok := p.Get(metric.CPUUsage)
	took := now.Sub(s.last.at).Seconds()
	limit, limited := p.Get(metric.CPULimit)
	if ok && limited && took > 0 && !s.last.at.IsZero() && usage >= s.last.usage {
		p.Set(metric.CPULimitPercent, 100*(usage-s.last.usage)/took/limit)
	}
	s.last.at, s.last.usage = now, usage
	if !ok {
		s.last.at = time.Time{}
	}
	s.percent(metric.MemLimitPercent, metric.MemWorkingSet, metric.MemLimit)
	s.percent(metric.PidsLimitPercent, metric.Threads, metric.PidsLimit)
}

func (s *Source) percent(of, part, whole metric.ID) {
	v, ok := s.Point.Get(part)
	w, limited := s.Point.Get(whole)
	if ok && limited && w > 0 {
		s.Point.Set(of, 100*v/w)
	}
}

// Stale reports whether so many series belong to devices and links that are gone
// that it is worth to open the source anew.
func (s *Source) Stale() bool {
	dead := 0
	for i := range s.Point.Series {
		if v := &s.Point.Series[i]; v.Dim != "" && !v.OK {
			dead++
		}
	}
	return dead > 256 && dead > len(s.Point.Series)/2
}
