package setting

import (
	"strings"
)

// Setting is one row of the table.
type Setting struct {
	Name  string // of the file on version 2
	Value string // its form, for people
	Help  string
	// V1 is the file on version 1, "" where there is nothing like it. Note says what
	// is different there, or why there is none.
	V1, Note string
	// Property is what systemd calls it on version 2, "" where the file is written.
	Property string
	// Bound is what a value may not be above.
	Bound Bound

	parse func(string) (string, error)
}

// Bound is a limit of the cgroup, or of those around it.
type Bound string

// The bounds.
const (
	Unbound  Bound = ""
	ByMemory Bound = "memory.max" // of the cgroup and of those around it
	ByQuota  Bound = "cpu.max"    // the quota of the cgroup, without which it means nothing
	BySame   Bound = "same"       // the same file of those around it
	ByCPUs   Bound = "cpus"       // the processors of the cgroup around it
)

// Table is all settings. The row of huge pages stands for each size.
func Table() []Setting {
	const protection = "version 1 protects no memory: memory.low is the nearest"
	return []Setting{
		{"cpu.idle", "0 or 1", "1: it runs only when nobody else on the host wants to.", "cpu.idle", "", "CPUWeight", Unbound, flag},
		{"cpu.max.burst", "MICROSECONDS", "what it may save of its quota (docker run --cpus) while it needs less, and use in one go later.", "cpu.cfs_burst_us", "", "", ByQuota, count(0, 1<<40)},
		{"cpu.weight", "1 to 10000", "its share while processors are short; 100 is usual.", "cpu.shares", "100 is 1024 there", "CPUWeight", Unbound, count(1, 10000)},
		{"cpuset.cpus", "LIST such as 0-3,6", "the processors that it may use.", "cpuset.cpus", "for containers; for a set refused, since its containers would have to be changed first", "AllowedCPUs", ByCPUs, cpus},
		{"cpuset.cpus.exclusive", "LIST", "processors that a partition of it may take from others.", "", "version 1 has no partitions", "", ByCPUs, cpus},
		{"cpuset.cpus.partition", "member, root or isolated", "root: nobody else gets its processors; isolated: nor does the kernel balance load over them.", "", "version 1 has no partitions", "", Unbound, oneOf("member", "root", "isolated")},
		{"cpuset.mems", "LIST", "the memory nodes that it may use.", "cpuset.mems", "for containers, as cpuset.cpus", "AllowedMemoryNodes", ByCPUs, cpus},
		{"hugetlb.SIZE.max", "BYTES or max", "the most huge pages of a size such as 2MB or 1GB, in whole pages.", "hugetlb.SIZE.limit_in_bytes", "", "", BySame, size},
		{"hugetlb.SIZE.rsvd.max", "BYTES or max", "the most that it may reserve of them.", "hugetlb.SIZE.rsvd.limit_in_bytes", "", "", BySame, size},
		{"io.latency", "DEVICE target=MICROSECONDS", "others on the device are slowed down when its operations take longer.", "", "version 1 does not know it", "", Unbound, devices("target")},
		{"io.max", "DEVICE rbps=, wbps=, riops=, wiops=", "the most bytes and operations a second, read and written.", "blkio.throttle.*_device", "holds there for direct IO and reads only: what is written through the page cache is not slowed down", "", Unbound, devices("rbps", "wbps", "riops", "wiops")},
		{"io.prio.class", "no-change, promote-to-rt, restrict-to-be or idle", "the IO priority of its operations.", "blkio.prio.class", "", "", Unbound, oneOf("no-change", "promote-to-rt", "restrict-to-be", "idle")},
		{"io.weight", "1 to 10000 or DEVICE 1 to 10000", "its share of a device while that is busy; 100 is usual. Needs io.cost, or the scheduler BFQ.", "blkio.bfq.weight", "1 to 1000, of the scheduler BFQ only", "IOWeight", Unbound, weights},
		{"memory.high", "BYTES or max", "above it memory is taken back and who wants more is slowed down, but nobody is killed.", "", "version 1 only has a limit at which it kills", "MemoryHigh", ByMemory, size},
		{"memory.low", "BYTES or max", "up to it memory is left alone while others have some to give.", "memory.soft_limit_in_bytes", "what is above it is taken back first, as with docker run --memory-reservation", "MemoryLow", ByMemory, size},
		{"memory.min", "BYTES or max", "up to it memory is never taken away.", "", protection, "MemoryMin", ByMemory, size},
		{"memory.oom.group", "0 or 1", "1: without memory all of its processes are killed, not one.", "", "version 1 kills one process", "", Unbound, flag},
		{"memory.swap.high", "BYTES or max", "above it who wants more swap is slowed down.", "", "version 1 does not know it", "", Unbound, size},
		{"memory.swap.max", "BYTES or max", "the most swap.", "", "version 1 limits memory and swap in one: docker update --memory-swap", "MemorySwapMax", BySame, size},
		{"memory.zswap.max", "BYTES or max", "the most swap that is compressed in memory.", "", "version 1 does not know it", "MemoryZSwapMax", BySame, size},
		{"pids.max", "NUMBER or max", "the most processes and threads.", "pids.max", "", "TasksMax", BySame, countOrMax},
	}
}

// Names are those of all settings.
func Names() (out []string) {
	for _, s := range Table() {
		out = append(out, s.Name)
	}
	return out
}

// Doc is the table for docs/cgroup-settings.md.
func Doc() string {
	var b strings.Builder
	b.WriteString("| setting | value | what it does | on version 1 | kept by |\n|---|---|---|---|---|\n")
	for _, s := range Table() {
		one, kept := "refused: "+s.Note, "its file"
		if s.V1 != "" {
			one = "`" + s.V1 + "`"
			if s.Note != "" {
				one += ": " + s.Note
			}
		}
		if s.Property != "" {
			kept = "`" + s.Property + "`"
		}
		for _, cell := range []string{"`" + s.Name + "`", s.Value, s.Help, one, kept} {
			b.WriteString("| " + cell + " ")
		}
		b.WriteString("|\n")
	}
	return b.String()
}
