package read

import (
	"bytes"

	"github.com/mosdocker/mosdocker/agent/metric"
)

// controllerProcs marks the list of processes, which is in every tree.
const controllerProcs = "procs"

// The files of a cgroup. The first has the CPU time, by which is known whether
// something ran; memory in use comes before what goes with it. Version 1 charges block
// IO to who asks for it, who runs then; version 2 also what is written back later.
var (
	version1 = []file{ //nolint:gochecknoglobals // a constant table
		{controller: "cpuacct", name: "cpuacct.usage", when: within, parse: single(metric.CPUUsage, nano)},
		{controller: "cpuacct", name: "cpuacct.stat", when: ran, parse: func(s *Source, data []byte) { fields(s, data, cpuacctStat) }},
		{controller: "cpu", name: "cpu.stat", when: ran, parse: func(s *Source, data []byte) { fields(s, data, cpuStat1) }},
		{controller: "cpu", name: "cpu.cfs_quota_us", when: slow, parse: quota},
		{controller: "cpu", name: "cpu.cfs_period_us", when: slow, parse: period},
		{controller: "memory", name: "memory.usage_in_bytes", when: within, parse: single(metric.MemUsage, 1)},
		{controller: "memory", name: "memory.stat", when: moved, parse: memoryStat1},
		{controller: "memory", name: "memory.kmem.usage_in_bytes", when: ran, parse: single(metric.MemKernel, 1)},
		{controller: "memory", name: "memory.failcnt", when: ran, parse: single(metric.MemLimitHits, 1)},
		{controller: "memory", name: "memory.memsw.failcnt", when: ran, parse: add(metric.MemLimitHits)},
		{controller: "memory", name: "memory.oom_control", when: ran, parse: func(s *Source, data []byte) { fields(s, data, oomControl) }},
		{controller: "memory", name: "memory.limit_in_bytes", when: slow, parse: limit(metric.MemLimit)},
		{controller: "memory", name: "memory.memsw.limit_in_bytes", when: slow, parse: limit(metric.MemSwapLimit)},
		{controller: "blkio", name: "blkio.throttle.io_service_bytes_recursive", when: moved, parse: blkio(metric.IOReadBytes, metric.IOWriteBytes)},
		{controller: "blkio", name: "blkio.throttle.io_serviced_recursive", when: moved, parse: blkio(metric.IOReads, metric.IOWrites)},
		{controller: "pids", name: "pids.current", when: ran, parse: single(metric.Threads, 1)},
		{controller: "pids", name: "pids.max", when: slow, parse: limit(metric.PidsLimit)},
		{controller: "pids", name: "pids.events", when: slow, parse: func(s *Source, data []byte) { fields(s, data, pidsEvents) }},
		{controller: controllerProcs, name: "cgroup.procs", when: slow, many: true, parse: processes},
		// Of the tree of version 2 beside: the controller's name is empty.
		{name: "cpu.pressure", parse: pressure(metric.CPUWaiting, metric.CPUStalled)},
		{name: "memory.pressure", parse: pressure(metric.MemWaiting, metric.MemStalled)},
		{name: "io.pressure", parse: pressure(metric.IOWaiting, metric.IOStalled)},
		{name: "irq.pressure", when: slow, parse: pressure(metric.IRQStalled, metric.IRQStalled)},
	}

	version2 = []file{ //nolint:gochecknoglobals // a constant table
		{controller: "cpu", name: "cpu.stat", when: within, parse: func(s *Source, data []byte) { fields(s, data, cpuStat2) }},
		{controller: "cpu", name: "cpu.max", when: slow, parse: cpuMax},
		{controller: "memory", name: "memory.current", when: within, parse: single(metric.MemUsage, 1)},
		{controller: "memory", name: "memory.stat", when: moved, parse: memoryStat2},
		{controller: "memory", name: "memory.swap.current", when: moved, parse: single(metric.MemSwap, 1)},
		{controller: "memory", name: "memory.events", when: ran, parse: func(s *Source, data []byte) { fields(s, data, memoryEvents) }},
		{controller: "memory", name: "memory.max", when: slow, parse: limit(metric.MemLimit)},
		{controller: "memory", name: "memory.swap.max", when: slow, parse: limit(metric.MemSwapLimit)},
		{controller: "io", name: "io.stat", parse: ioStat},
		{controller: "pids", name: "pids.current", when: ran, parse: single(metric.Threads, 1)},
		{controller: "pids", name: "pids.max", when: slow, parse: limit(metric.PidsLimit)},
		{controller: "pids", name: "pids.events", when: slow, parse: func(s *Source, data []byte) { fields(s, data, pidsEvents) }},
		{controller: controllerProcs, name: "cgroup.procs", when: slow, many: true, parse: processes},
		{name: "cpu.pressure", parse: pressure(metric.CPUWaiting, metric.CPUStalled)},
		{name: "memory.pressure", parse: pressure(metric.MemWaiting, metric.MemStalled)},
		{name: "io.pressure", parse: pressure(metric.IOWaiting, metric.IOStalled)},
		{name: "irq.pressure", when: slow, parse: pressure(metric.IRQStalled, metric.IRQStalled)},
	}

	cpuacctStat = []field{{"user", metric.CPUUser, tick}, {"system", metric.CPUSystem, tick}} //nolint:gochecknoglobals // a constant table
	cpuStat1    = []field{                                                                    //nolint:gochecknoglobals // a constant table
		{"nr_periods", metric.CPUPeriods, 1},
		{"nr_throttled", metric.CPUThrottledPeriods, 1},
		{"throttled_time", metric.CPUThrottled, nano},
		{"nr_bursts", metric.CPUBursts, 1},
		{"burst_time", metric.CPUBurst, nano},
	}
	cpuStat2 = []field{ //nolint:gochecknoglobals // a constant table
		{"usage_usec", metric.CPUUsage, micro},
		{"user_usec", metric.CPUUser, micro},
		{"system_usec", metric.CPUSystem, micro},
		{"nr_periods", metric.CPUPeriods, 1},
		{"nr_throttled", metric.CPUThrottledPeriods, 1},
		{"throttled_usec", metric.CPUThrottled, micro},
		{"nr_bursts", metric.CPUBursts, 1},
		{"burst_usec", metric.CPUBurst, micro},
	}
	// Of version 1 the values that count what is below too, as those of version 2 do.
	// The last is no metric; see memoryStat1.
	memStat1 = []field{ //nolint:gochecknoglobals // a constant table
		{"total_cache", metric.MemCache, 1},
		{"total_rss", metric.MemRSS, 1},
		{"total_mapped_file", metric.MemMapped, 1},
		{"total_swap", metric.MemSwap, 1},
		{"total_pgfault", metric.MemFaults, 1},
		{"total_pgmajfault", metric.MemMajorFaults, 1},
		{"total_inactive_file", metric.MemWorkingSet, 1},
	}
	memStat2 = []field{ //nolint:gochecknoglobals // a constant table
		{"anon", metric.MemRSS, 1},
		{"file", metric.MemCache, 1},
		{"kernel", metric.MemKernel, 1},
		{"file_mapped", metric.MemMapped, 1},
		{"inactive_file", metric.MemWorkingSet, 1},
		{"pgfault", metric.MemFaults, 1},
		{"pgmajfault", metric.MemMajorFaults, 1},
	}
	memoryEvents = []field{ //nolint:gochecknoglobals // a constant table
		{"high", metric.MemHighHits, 1}, {"max", metric.MemLimitHits, 1}, {"oom", metric.OOMEvents, 1}, {"oom_kill", metric.OOMKills, 1},
	}
	oomControl = []field{{"oom_kill", metric.OOMKills, 1}} //nolint:gochecknoglobals // a constant table
	pidsEvents = []field{{"max", metric.PidsLimitHits, 1}} //nolint:gochecknoglobals // a constant table
)

func memoryStat1(s *Source, data []byte) { memoryStat(s, data, memStat1) }
func memoryStat2(s *Source, data []byte) { memoryStat(s, data, memStat2) }

// memoryStat reads the tables in which the page cache that was not used lately
// stands for the working set, and makes the one of the other.
func memoryStat(s *Source, data []byte, table []field) {
	fields(s, data, table)
	set := &s.Point.Series[metric.MemWorkingSet]
	usage, ok := s.Point.Get(metric.MemUsage)
	if set.OK = set.OK && ok; ok {
		// Both were read one after the other, so the part may be the greater.
		set.Value = max(usage-set.Value, 0)
	}
}

// quota and period are the two files of a CPU limit of version 1.
func quota(s *Source, data []byte) { s.quota, _ = whole(data) } // "-1" is no number

func period(s *Source, data []byte) {
	if p, ok := whole(data); ok && p > 0 && s.quota > 0 {
		s.Point.Set(metric.CPULimit, float64(s.quota)/float64(p))
	}
}

// cpuMax is "max 100000" or "200000 100000".
func cpuMax(s *Source, data []byte) {
	q, rest, ok := number(data)
	p, _, ok2 := number(rest)
	if ok && ok2 && p > 0 {
		s.Point.Set(metric.CPULimit, float64(q)/float64(p))
	}
}

// blkio reads lines "8:0 Read 4096" of version 1.
func blkio(read, write metric.ID) func(*Source, []byte) {
	return func(s *Source, data []byte) {
		for len(data) > 0 {
			var line []byte
			line, data = cut(data, '\n')
			d, rest := s.deviceAt(line)
			if d == nil {
				continue
			}
			op, rest := word(rest)
			v, _, ok := number(rest)
			if !ok {
				continue
			}
			switch string(op) {
			case "Read":
				s.Point.SetAt(d.base+int(read-metric.IOReadBytes), float64(v))
			case "Write":
				s.Point.SetAt(d.base+int(write-metric.IOReadBytes), float64(v))
			}
		}
	}
}

// ioStat reads lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6", behind which
// io.latency has "avg_lat=7 win=8" and io.cost "cost.wait=9", both in µs, when
// blkcg_debug_stats is on (block/blk-iolatency.c, blk-iocost.c). A line may have no keys
// behind its device.
func ioStat(s *Source, data []byte) {
	for len(data) > 0 {
		var line []byte
		line, data = cut(data, '\n')
		d, rest := s.deviceAt(line)
		for d != nil && len(rest) > 0 {
			var w []byte
			w, rest = word(rest)
			key, value := cut(w, '=')
			v, _, ok := number(value)
			if !ok {
				continue
			}
			switch string(key) {
			case "rbytes":
				s.Point.SetAt(d.base, float64(v))
			case "wbytes":
				s.Point.SetAt(d.base+1, float64(v))
			case "rios":
				s.Point.SetAt(d.base+2, float64(v))
			case "wios":
				s.Point.SetAt(d.base+3, float64(v))
			case "avg_lat":
				s.Point.SetAt(s.waits(d), float64(v)/micro)
			case "cost.wait":
				s.Point.SetAt(s.waits(d)+1, float64(v)/micro)
			}
		}
	}
}

// processes counts processes and their files.
func processes(s *Source, data []byte) {
	s.Point.Set(metric.Processes, float64(bytes.Count(data, []byte{'\n'})))
	if n, ok := filesOf(data); ok {
		s.Point.Set(metric.FDs, float64(n))
	}
}
