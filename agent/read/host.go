package read

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/metric"
)

var (
	hostFiles = []file{ //nolint:gochecknoglobals // a constant table
		{name: "/proc/stat", parse: procStat},
		{name: "/proc/meminfo", parse: memInfo},
		{name: "/proc/loadavg", parse: loadAvg},
		{name: "/proc/diskstats", many: true, parse: diskStats},
		{name: "/proc/vmstat", when: slow, many: true, parse: func(s *Source, data []byte) { fields(s, data, vmStat) }},
		{name: "/proc/pressure/cpu", parse: pressure(metric.CPUWaiting, metric.CPUStalled)},
		{name: "/proc/pressure/memory", parse: pressure(metric.MemWaiting, metric.MemStalled)},
		{name: "/proc/pressure/io", parse: pressure(metric.IOWaiting, metric.IOStalled)},
		{name: "/proc/pressure/irq", when: slow, parse: pressure(metric.IRQStalled, metric.IRQStalled)},
	}
	dying = file{name: "cgroup.stat", when: slow, parse: func(s *Source, data []byte) { fields(s, data, cgroupStat) }} //nolint:gochecknoglobals // constant

	vmStat     = []field{{"oom_kill", metric.OOMKills, 1}}                 //nolint:gochecknoglobals // a constant table
	cgroupStat = []field{{"nr_dying_descendants", metric.DyingCgroups, 1}} //nolint:gochecknoglobals // a constant table
)

// NewHost keeps the files of the host open.
func NewHost(t cgroup.Tree, o *metric.Object) (*Source, error) {
	s := &Source{Point: metric.NewPoint(o)}
	for i := range hostFiles {
		if err := s.keep(&hostFiles[i], hostFiles[i].name); err != nil {
			s.Close()
			return nil, err
		}
	}
	if t.V2 != "" {
		if err := s.keep(&dying, t.V2+"/"+dying.name); err != nil {
			s.Close()
			return nil, err
		}
	}
	if err := s.AddNet(os.Getpid(), nil); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// procStat reads "cpu user nice system idle iowait irq softirq steal …" in ticks,
// and counts the lines of single CPUs.
func procStat(s *Source, data []byte) {
	line, data := cut(data, '\n')
	_, rest := word(line)
	var v [8]uint64
	for i := range v {
		n, r, ok := number(rest)
		if !ok {
			return
		}
		v[i], rest = n, r
	}
	user, nice, system, idle, iowait, irq, softirq, steal := v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
	s.Point.Set(metric.CPUUsage, float64(user+nice+system+irq+softirq)/tick)
	s.Point.Set(metric.CPUUser, float64(user+nice)/tick)
	s.Point.Set(metric.CPUSystem, float64(system+irq+softirq)/tick)
	s.Point.Set(metric.CPUIdle, float64(idle)/tick)
	s.Point.Set(metric.CPUIOWait, float64(iowait)/tick)
	s.Point.Set(metric.CPUSteal, float64(steal)/tick)
	cores := 0
	for len(data) > 0 {
		line, data = cut(data, '\n')
		switch {
		case bytes.HasPrefix(line, []byte("cpu")):
			cores++
		case bytes.HasPrefix(line, []byte("btime ")):
			if b, _, ok := number(line[len("btime"):]); ok {
				s.Point.Set(metric.StartTime, float64(b))
			}
		}
	}
	s.Point.Set(metric.Cores, float64(cores))
}

// memInfo reads lines "MemTotal: 1234 kB".
func memInfo(s *Source, data []byte) {
	var total, free, available, cached, buffers, swapTotal, swapFree, slab, stack, tables, inactive uint64
	for len(data) > 0 {
		var line []byte
		line, data = cut(data, '\n')
		key, rest := cut(line, ':')
		v, _, ok := number(rest)
		if !ok {
			continue
		}
		v *= 1024
		switch string(key) {
		case "MemTotal":
			total = v
		case "MemFree":
			free = v
		case "MemAvailable":
			available = v
		case "Buffers":
			buffers = v
		case "Cached":
			cached = v
		case "Inactive(file)":
			inactive = v
		case "SwapTotal":
			swapTotal = v
		case "SwapFree":
			swapFree = v
		case "AnonPages":
			s.Point.Set(metric.MemRSS, float64(v))
		case "Mapped":
			s.Point.Set(metric.MemMapped, float64(v))
		case "Slab":
			slab = v
		case "KernelStack":
			stack = v
		case "PageTables":
			tables = v
		}
	}
	p := s.Point
	p.Set(metric.MemTotal, float64(total))
	p.Set(metric.MemAvailable, float64(available))
	p.Set(metric.MemUsage, float64(total-free))
	p.Set(metric.MemWorkingSet, float64(total-free)-float64(inactive))
	p.Set(metric.MemCache, float64(cached+buffers))
	p.Set(metric.MemSwap, float64(swapTotal-swapFree))
	p.Set(metric.MemKernel, float64(slab+stack+tables))
}

// loadAvg is "0.52 …": two digits behind the point.
func loadAvg(s *Source, data []byte) {
	whole, rest, ok := number(data)
	if !ok || len(rest) == 0 || rest[0] != '.' {
		return
	}
	if hundredths, _, ok := number(rest[1:]); ok {
		s.Point.Set(metric.Load1, float64(whole*100+hundredths)/100)
	}
}

// sector is the unit of diskstats, whatever the disk's own is.
const sector = 512

// diskStats reads lines "254 0 vda reads merged sectors ms writes merged sectors ms
// now busy-ms …".
func diskStats(s *Source, data []byte) {
	for len(data) > 0 {
		var line []byte
		line, data = cut(data, '\n')
		major, rest, ok := number(line)
		minor, rest, ok2 := number(rest)
		if !ok || !ok2 {
			continue
		}
		d := s.device(major, minor)
		if d.base < 0 {
			continue
		}
		_, rest = word(rest)
		var v [10]uint64
		for i := range v {
			v[i], rest, _ = number(rest)
		}
		s.Point.SetAt(d.base, float64(v[2]*sector))
		s.Point.SetAt(d.base+1, float64(v[6]*sector))
		s.Point.SetAt(d.base+2, float64(v[0]))
		s.Point.SetAt(d.base+3, float64(v[4]))
		s.Point.SetAt(d.base+4, float64(v[3])/milli)
		s.Point.SetAt(d.base+5, float64(v[7])/milli)
		s.Point.SetAt(d.base+6, float64(v[9])/milli)
	}
}

// NewAgent is the source of the process itself; o is its object.
func NewAgent(o *metric.Object) *Source {
	s := &Source{Point: metric.NewPoint(o)}
	f := file{parse: statm}
	_ = s.keep(&f, "/proc/self/statm") // without it one value is missing
	return s
}

// statm is "size resident …" in pages.
func statm(s *Source, data []byte) {
	_, rest, _ := number(data)
	if pages, _, ok := number(rest); ok {
		s.Point.Set(metric.AgentMemory, float64(pages*uint64(os.Getpagesize())))
	}
}

// SampleAgent takes the values of the process: it is [Source.Sample] for what
// [NewAgent] made.
func (s *Source) SampleAgent(b *Buffer, slow bool) {
	s.Point.Forget(slow, true)
	for i := range s.kept {
		if !slow {
			break
		}
		if data, err := b.pread(&s.kept[i]); err == nil {
			s.kept[i].parse(s, data)
		}
	}
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) == nil {
		s.Point.Set(metric.AgentCPU, seconds(u.Utime)+seconds(u.Stime))
	}
}

func seconds(t unix.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/micro }
