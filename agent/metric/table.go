package metric

// ID is the place of a metric in [Table], and of its series in a point when it
// has no dimension.
type ID uint8

// Kind says how values of a metric behave.
type Kind uint8

// The kinds.
const (
	Gauge   Kind = iota // goes up and down
	Counter             // only grows, from 0 when its object begins
)

// Scope is a set of kinds of objects.
type Scope uint8

// The kinds of objects that have points.
const (
	Container Scope = 1 << iota
	Set             // the cgroup that holds the containers of a set
	Host
	Agent // the agent itself
)

// scopes are the kinds with their words, as configuration and output have them.
func scopes() map[Scope]string {
	return map[Scope]string{Container: "container", Set: "set", Host: "host", Agent: "agent"}
}

// String is the word for one kind of object.
func (s Scope) String() string { return scopes()[s] }

// ParseScope reads one word of [Scope.String].
func ParseScope(word string) (Scope, bool) {
	for s, w := range scopes() {
		if w == word {
			return s, true
		}
	}
	return 0, false
}

// Def is one metric.
type Def struct {
	Name string // ours, dotted: cpu.usage
	// Prom is the name for Prometheus behind "container_", "mos_set_", "mos_host_"
	// or "mos_agent_". Those of containers are cAdvisor's where it has the metric,
	// so that dashboards made for it work.
	Prom string
	Unit string // s, By, 1, %, or what is counted, as in UCUM
	Kind Kind
	Dim  string // label that tells its series of one object apart, "" if there is but one
	Slow bool   // read at the slow interval only
	// Lazy is what of a cgroup changes only when it uses CPU time or its memory
	// does; it is read only then, and at the slow interval. Block IO is so on version 1.
	Lazy bool
	In   Scope
	Help string
}

// The metrics. Those up to the first with a dimension lie at their ID in a
// point's series; see [NewPoint].
const (
	CPUUsage ID = iota
	CPUUser
	CPUSystem
	CPUPeriods
	CPUThrottledPeriods
	CPUThrottled
	CPUBursts
	CPUBurst
	CPULimit
	CPULimitPercent
	MemUsage
	MemWorkingSet
	MemRSS
	MemCache
	MemMapped
	MemSwap
	MemKernel
	MemLimit
	MemSwapLimit
	MemLimitPercent
	MemFaults
	MemMajorFaults
	MemLimitHits
	MemHighHits
	OOMEvents
	OOMKills
	CPUWaiting
	CPUStalled
	MemWaiting
	MemStalled
	IOWaiting
	IOStalled
	IRQStalled
	Threads
	PidsLimit
	PidsLimitPercent
	PidsLimitHits
	Processes
	FDs
	StartTime
	TCPInUse
	TCPOrphans
	TCPTimeWait
	TCPAllocated
	TCPRetransmits
	TCPSegmentsOut
	TCPSegmentsIn
	TCPResetsOut
	UDPInUse
	UDPReceiveErrors
	Load1
	MemTotal
	MemAvailable
	CPUIdle
	CPUIOWait
	CPUSteal
	Cores
	DyingCgroups
	Images
	ImagesSize
	AgentCPU
	AgentMemory
	AgentSamples
	AgentSampleTime
	AgentContainers
	AgentReadErrors
	AgentScans

	IOReadBytes // from here on metrics have a dimension
	IOWriteBytes
	IOReads
	IOWrites
	IOReadTime
	IOWriteTime
	IOBusy
	IOLatency
	IOWait
	OOMReasons
	NetRxBytes
	NetRxPackets
	NetRxErrors
	NetRxDropped
	NetTxBytes
	NetTxPackets
	NetTxErrors
	NetTxDropped
	TCPStates
	FSSize
	FSUsed
	FSAvailable
	FSPercent
	FSInodesFree
	PoolSize
	PoolUsed
	PoolPercent
	PoolMetaPercent
	PoolFree
	SinkSent
	SinkDropped
	SinkFailures
	SinkBuffered
	count
)

const firstDim = IOReadBytes

// Count is how many metrics there are.
const Count = int(count)

// What metrics are often of.
const (
	cs  = Container | Set
	csh = cs | Host
)

// Table lists all metrics by their ID. The caller may not change it.
func Table() *[Count]Def { return &table }

// Of is the definition of a metric.
func Of(id ID) *Def { return &table[id] }

var table = [Count]Def{ //nolint:gochecknoglobals // a constant table
	CPUUsage:            {Name: "cpu.usage", Prom: "cpu_usage_seconds_total", Unit: "s", Kind: Counter, In: csh, Help: "CPU time used."},
	CPUUser:             {Name: "cpu.user", Prom: "cpu_user_seconds_total", Unit: "s", Kind: Counter, Lazy: true, In: csh, Help: "CPU time used in user mode."},
	CPUSystem:           {Name: "cpu.system", Prom: "cpu_system_seconds_total", Unit: "s", Kind: Counter, Lazy: true, In: csh, Help: "CPU time used in the kernel."},
	CPUPeriods:          {Name: "cpu.cfs.periods", Prom: "cpu_cfs_periods_total", Unit: "{period}", Kind: Counter, Lazy: true, In: cs, Help: "Periods of the CPU limit in which something ran."},
	CPUThrottledPeriods: {Name: "cpu.cfs.throttled.periods", Prom: "cpu_cfs_throttled_periods_total", Unit: "{period}", Kind: Counter, Lazy: true, In: cs, Help: "Periods in which the CPU limit made something wait."},
	CPUThrottled:        {Name: "cpu.cfs.throttled", Prom: "cpu_cfs_throttled_seconds_total", Unit: "s", Kind: Counter, Lazy: true, In: cs, Help: "Time for which the CPU limit made something wait, summed over CPUs."},
	CPUBursts:           {Name: "cpu.cfs.burst.periods", Prom: "cpu_cfs_burst_periods_total", Unit: "{period}", Kind: Counter, Lazy: true, In: cs, Help: "Periods in which a burst went above the CPU limit."},
	CPUBurst:            {Name: "cpu.cfs.burst", Prom: "cpu_cfs_burst_seconds_total", Unit: "s", Kind: Counter, Lazy: true, In: cs, Help: "CPU time used above the limit by bursts."},
	CPULimit:            {Name: "cpu.limit", Prom: "cpu_limit_cores", Unit: "{cpu}", In: cs, Slow: true, Help: "CPU limit in cores; absent without a limit."},
	CPULimitPercent:     {Name: "cpu.limit.percent", Prom: "cpu_limit_percent", Unit: "%", In: cs, Help: "CPU time used since the last sample, as a part of the limit."},
	MemUsage:            {Name: "memory.usage", Prom: "memory_usage_bytes", Unit: "By", In: csh, Help: "Memory in use, page cache included."},
	MemWorkingSet:       {Name: "memory.working_set", Prom: "memory_working_set_bytes", Unit: "By", Lazy: true, In: csh, Help: "Memory in use without page cache that was not used lately."},
	MemRSS:              {Name: "memory.rss", Prom: "memory_rss", Unit: "By", Lazy: true, In: csh, Help: "Anonymous memory."},
	MemCache:            {Name: "memory.cache", Prom: "memory_cache", Unit: "By", Lazy: true, In: csh, Help: "Page cache, tmpfs included."},
	MemMapped:           {Name: "memory.mapped", Prom: "memory_mapped_file", Unit: "By", Lazy: true, In: csh, Help: "Page cache mapped by processes."},
	MemSwap:             {Name: "memory.swap", Prom: "memory_swap", Unit: "By", Lazy: true, In: csh, Help: "Swap in use."},
	MemKernel:           {Name: "memory.kernel", Prom: "memory_kernel_usage", Unit: "By", Lazy: true, In: csh, Help: "Memory of the kernel's own."},
	MemLimit:            {Name: "memory.limit", Prom: "spec_memory_limit_bytes", Unit: "By", In: cs, Slow: true, Help: "Memory limit; absent without a limit."},
	MemSwapLimit:        {Name: "memory.swap.limit", Prom: "spec_memory_swap_limit_bytes", Unit: "By", In: cs, Slow: true, Help: "Swap limit, of version 1 memory and swap together; absent without a limit."},
	MemLimitPercent:     {Name: "memory.limit.percent", Prom: "memory_limit_percent", Unit: "%", In: cs, Help: "Working set as a part of the limit."},
	MemFaults:           {Name: "memory.faults", Prom: "memory_faults_total", Unit: "{fault}", Kind: Counter, Lazy: true, In: cs, Help: "Page faults."},
	MemMajorFaults:      {Name: "memory.faults.major", Prom: "memory_major_faults_total", Unit: "{fault}", Kind: Counter, Lazy: true, In: cs, Help: "Page faults that had to read a disk."},
	MemLimitHits:        {Name: "memory.limit.hits", Prom: "memory_failcnt", Unit: "{event}", Kind: Counter, Lazy: true, In: cs, Help: "Times the memory limit was reached and memory had to be reclaimed."},
	MemHighHits:         {Name: "memory.high.hits", Prom: "memory_high_events_total", Unit: "{event}", Kind: Counter, Lazy: true, In: cs, Help: "Times memory.high slowed somebody down."},
	OOMEvents:           {Name: "memory.oom", Prom: "oom_limit_events_total", Unit: "{event}", Kind: Counter, Lazy: true, In: cs, Help: "Times nothing could be reclaimed at the memory limit."},
	OOMKills:            {Name: "memory.oom.kills", Prom: "oom_events_total", Unit: "{process}", Kind: Counter, Lazy: true, In: csh, Help: "Processes killed for want of memory."},
	CPUWaiting:          {Name: "pressure.cpu.waiting", Prom: "pressure_cpu_waiting_seconds_total", Unit: "s", Kind: Counter, In: csh, Help: "Time in which some task waited for a CPU."},
	CPUStalled:          {Name: "pressure.cpu.stalled", Prom: "pressure_cpu_stalled_seconds_total", Unit: "s", Kind: Counter, In: csh, Help: "Time in which all tasks waited for a CPU."},
	MemWaiting:          {Name: "pressure.memory.waiting", Prom: "pressure_memory_waiting_seconds_total", Unit: "s", Kind: Counter, In: csh, Help: "Time in which some task waited for memory."},
	MemStalled:          {Name: "pressure.memory.stalled", Prom: "pressure_memory_stalled_seconds_total", Unit: "s", Kind: Counter, In: csh, Help: "Time in which all tasks waited for memory."},
	IOWaiting:           {Name: "pressure.io.waiting", Prom: "pressure_io_waiting_seconds_total", Unit: "s", Kind: Counter, In: csh, Help: "Time in which some task waited for a disk."},
	IOStalled:           {Name: "pressure.io.stalled", Prom: "pressure_io_stalled_seconds_total", Unit: "s", Kind: Counter, In: csh, Help: "Time in which all tasks waited for a disk."},
	IRQStalled:          {Name: "pressure.irq.stalled", Prom: "pressure_irq_stalled_seconds_total", Unit: "s", Kind: Counter, In: csh, Slow: true, Help: "Time in which interrupts kept all tasks from running."},
	Threads:             {Name: "threads", Prom: "threads", Unit: "{thread}", Lazy: true, In: cs, Help: "Threads."},
	PidsLimit:           {Name: "threads.limit", Prom: "threads_max", Unit: "{thread}", In: cs, Slow: true, Help: "Limit of threads; absent without a limit."},
	PidsLimitPercent:    {Name: "threads.limit.percent", Prom: "threads_limit_percent", Unit: "%", In: cs, Help: "Threads as a part of their limit."},
	PidsLimitHits:       {Name: "threads.limit.hits", Prom: "threads_limit_events_total", Unit: "{event}", Kind: Counter, In: cs, Slow: true, Help: "Forks that the limit of threads refused."},
	Processes:           {Name: "processes", Prom: "processes", Unit: "{process}", In: Container, Slow: true, Help: "Processes."},
	FDs:                 {Name: "fds", Prom: "file_descriptors", Unit: "{file}", In: Container, Slow: true, Help: "Open file descriptors of all processes, at most of the first 256."},
	StartTime:           {Name: "start_time", Prom: "start_time_seconds", Unit: "s", In: Container | Host, Slow: true, Help: "Start, in seconds since 1970."},
	TCPInUse:            {Name: "tcp.inuse", Prom: "network_tcp_inuse", Unit: "{socket}", In: csh, Slow: true, Help: "TCP sockets in use, those in TIME_WAIT not counted."},
	TCPOrphans:          {Name: "tcp.orphans", Prom: "network_tcp_orphans", Unit: "{socket}", In: Host, Slow: true, Help: "TCP sockets that belong to no process any more."},
	TCPTimeWait:         {Name: "tcp.timewait", Prom: "network_tcp_timewait", Unit: "{socket}", In: csh, Slow: true, Help: "TCP sockets in TIME_WAIT."},
	TCPAllocated:        {Name: "tcp.allocated", Prom: "network_tcp_allocated", Unit: "{socket}", In: Host, Slow: true, Help: "TCP sockets that hold memory, of all namespaces."},
	TCPRetransmits:      {Name: "tcp.retransmits", Prom: "network_tcp_retransmits_total", Unit: "{segment}", Kind: Counter, In: csh, Slow: true, Help: "TCP segments sent again."},
	TCPSegmentsOut:      {Name: "tcp.segments.out", Prom: "network_tcp_segments_sent_total", Unit: "{segment}", Kind: Counter, In: csh, Slow: true, Help: "TCP segments sent, those sent again not counted."},
	TCPSegmentsIn:       {Name: "tcp.segments.in", Prom: "network_tcp_segments_received_total", Unit: "{segment}", Kind: Counter, In: csh, Slow: true, Help: "TCP segments received."},
	TCPResetsOut:        {Name: "tcp.resets.out", Prom: "network_tcp_resets_sent_total", Unit: "{segment}", Kind: Counter, In: csh, Slow: true, Help: "TCP segments sent with RST."},
	UDPInUse:            {Name: "udp.inuse", Prom: "network_udp_inuse", Unit: "{socket}", In: csh, Slow: true, Help: "UDP sockets in use."},
	UDPReceiveErrors:    {Name: "udp.errors.in", Prom: "network_udp_receive_errors_total", Unit: "{packet}", Kind: Counter, In: csh, Slow: true, Help: "UDP datagrams that could not be delivered, for want of buffer or by a wrong checksum."},
	Load1:               {Name: "load1", Prom: "load1", Unit: "1", In: Host, Help: "Tasks that run or wait, averaged over a minute."},
	MemTotal:            {Name: "memory.total", Prom: "memory_total_bytes", Unit: "By", In: Host, Help: "Memory of the host."},
	MemAvailable:        {Name: "memory.available", Prom: "memory_available_bytes", Unit: "By", In: Host, Help: "Memory that could be had without swapping."},
	CPUIdle:             {Name: "cpu.idle", Prom: "cpu_idle_seconds_total", Unit: "s", Kind: Counter, In: Host, Help: "Time in which CPUs had nothing to do."},
	CPUIOWait:           {Name: "cpu.iowait", Prom: "cpu_iowait_seconds_total", Unit: "s", Kind: Counter, In: Host, Help: "Time in which CPUs had nothing to do but wait for disks."},
	CPUSteal:            {Name: "cpu.steal", Prom: "cpu_steal_seconds_total", Unit: "s", Kind: Counter, In: Host, Help: "Time in which the hypervisor ran somebody else."},
	Cores:               {Name: "cpu.cores", Prom: "cpu_cores", Unit: "{cpu}", In: Host, Help: "CPUs of the host."},
	DyingCgroups:        {Name: "cgroups.dying", Prom: "cgroups_dying", Unit: "{cgroup}", In: Host, Slow: true, Help: "Removed cgroups that the kernel still keeps; many of them make every reading slow."},
	Images:              {Name: "images", Prom: "images", Unit: "{image}", In: Host, Slow: true, Help: "Images that the Engine keeps."},
	ImagesSize:          {Name: "images.size", Prom: "images_size_bytes", Unit: "By", In: Host, Slow: true, Help: "Space that they take, layers that several share counted once."},
	AgentCPU:            {Name: "process.cpu", Prom: "cpu_seconds_total", Unit: "s", Kind: Counter, In: Agent, Help: "CPU time used by the process that runs the agent."},
	AgentMemory:         {Name: "process.memory", Prom: "memory_bytes", Unit: "By", In: Agent, Slow: true, Help: "Memory of the process that runs the agent."},
	AgentSamples:        {Name: "samples", Prom: "samples_total", Unit: "{sample}", Kind: Counter, In: Agent, Help: "Samples taken."},
	AgentSampleTime:     {Name: "sample.time", Prom: "sample_seconds", Unit: "s", In: Agent, Help: "Time that the last sample took."},
	AgentContainers:     {Name: "containers", Prom: "containers", Unit: "{container}", In: Agent, Help: "Containers measured."},
	AgentReadErrors:     {Name: "read.errors", Prom: "read_errors_total", Unit: "{error}", Kind: Counter, In: Agent, Help: "Files that could not be read, those of ended containers not counted."},
	AgentScans:          {Name: "scans", Prom: "scans_total", Unit: "{scan}", Kind: Counter, In: Agent, Help: "Looks for containers that came or went."},
	IOReadBytes:         {Name: "io.read", Prom: "fs_reads_bytes_total", Unit: "By", Kind: Counter, Dim: "device", Lazy: true, In: csh, Help: "Bytes read from a block device."},
	IOWriteBytes:        {Name: "io.write", Prom: "fs_writes_bytes_total", Unit: "By", Kind: Counter, Dim: "device", Lazy: true, In: csh, Help: "Bytes written to a block device."},
	IOReads:             {Name: "io.reads", Prom: "fs_reads_total", Unit: "{operation}", Kind: Counter, Dim: "device", Lazy: true, In: csh, Help: "Reads from a block device."},
	IOWrites:            {Name: "io.writes", Prom: "fs_writes_total", Unit: "{operation}", Kind: Counter, Dim: "device", Lazy: true, In: csh, Help: "Writes to a block device."},
	IOReadTime:          {Name: "io.read.time", Prom: "fs_read_seconds_total", Unit: "s", Kind: Counter, Dim: "device", In: Host, Help: "Time that reads took, of each from its queueing to its end: what it grew by, by what io.reads grew by, is their latency."},
	IOWriteTime:         {Name: "io.write.time", Prom: "fs_write_seconds_total", Unit: "s", Kind: Counter, Dim: "device", In: Host, Help: "Time that writes took, the same."},
	IOBusy:              {Name: "io.busy", Prom: "fs_io_time_seconds_total", Unit: "s", Kind: Counter, Dim: "device", In: Host, Help: "Time in which a block device had something to do."},
	IOLatency:           {Name: "io.latency", Prom: "fs_latency_seconds", Unit: "s", Dim: "device", In: cs, Help: "Average latency of the last window of io.latency, where that is set and the kernel shows it (version 2, blk_cgroup.blkcg_debug_stats)."},
	IOWait:              {Name: "io.wait", Prom: "fs_wait_seconds_total", Unit: "s", Kind: Counter, Dim: "device", In: cs, Help: "Time for which io.cost held operations back, where that is on and the kernel shows it (the same)."},
	OOMReasons:          {Name: "memory.oom.kills.reason", Prom: "oom_kills_by_reason_total", Unit: "{process}", Kind: Counter, Dim: "reason", In: csh, Help: "Processes killed for want of memory while mosd runs, by whose it was: container, set, host (it had no more) or other (a cgroup above)."},
	NetRxBytes:          {Name: "net.rx", Prom: "network_receive_bytes_total", Unit: "By", Kind: Counter, Dim: "interface", In: csh, Help: "Bytes received."},
	NetRxPackets:        {Name: "net.rx.packets", Prom: "network_receive_packets_total", Unit: "{packet}", Kind: Counter, Dim: "interface", In: csh, Help: "Packets received."},
	NetRxErrors:         {Name: "net.rx.errors", Prom: "network_receive_errors_total", Unit: "{packet}", Kind: Counter, Dim: "interface", In: csh, Help: "Packets received with errors."},
	NetRxDropped:        {Name: "net.rx.dropped", Prom: "network_receive_packets_dropped_total", Unit: "{packet}", Kind: Counter, Dim: "interface", In: csh, Help: "Packets dropped while receiving."},
	NetTxBytes:          {Name: "net.tx", Prom: "network_transmit_bytes_total", Unit: "By", Kind: Counter, Dim: "interface", In: csh, Help: "Bytes sent."},
	NetTxPackets:        {Name: "net.tx.packets", Prom: "network_transmit_packets_total", Unit: "{packet}", Kind: Counter, Dim: "interface", In: csh, Help: "Packets sent."},
	NetTxErrors:         {Name: "net.tx.errors", Prom: "network_transmit_errors_total", Unit: "{packet}", Kind: Counter, Dim: "interface", In: csh, Help: "Packets not sent for errors."},
	NetTxDropped:        {Name: "net.tx.dropped", Prom: "network_transmit_packets_dropped_total", Unit: "{packet}", Kind: Counter, Dim: "interface", In: csh, Help: "Packets dropped while sending."},
	TCPStates:           {Name: "tcp.states", Prom: "network_tcp_usage", Unit: "{socket}", Dim: "tcp_state", Slow: true, In: csh, Help: "TCP sockets by state."},
	FSSize:              {Name: "fs.size", Prom: "volume_size_bytes", Unit: "By", Dim: "volume", Slow: true, In: csh, Help: "Size of the file system of a volume, of the host that of the Engine's folder."},
	FSUsed:              {Name: "fs.used", Prom: "volume_used_bytes", Unit: "By", Dim: "volume", Slow: true, In: csh, Help: "Space in use on the file system of a volume."},
	FSAvailable:         {Name: "fs.available", Prom: "volume_available_bytes", Unit: "By", Dim: "volume", Slow: true, In: csh, Help: "Space that users can still fill on the file system of a volume."},
	FSPercent:           {Name: "fs.percent", Prom: "volume_used_percent", Unit: "%", Dim: "volume", Slow: true, In: csh, Help: "Space in use as a part of what users can fill, as df prints it."},
	FSInodesFree:        {Name: "fs.inodes.free", Prom: "volume_inodes_free", Unit: "{inode}", Dim: "volume", Slow: true, In: csh, Help: "Free inodes of the file system of a volume."},
	PoolSize:            {Name: "pool.size", Prom: "pool_size_bytes", Unit: "By", Dim: "pool", Slow: true, In: Host, Help: "Size of a pool, volume group or folder of mos-lvm, from which volumes have their space."},
	PoolUsed:            {Name: "pool.used", Prom: "pool_used_bytes", Unit: "By", Dim: "pool", Slow: true, In: Host, Help: "What of it is taken."},
	PoolPercent:         {Name: "pool.percent", Prom: "pool_used_percent", Unit: "%", Dim: "pool", Slow: true, In: Host, Help: "How full it is, of a thin pool its data."},
	PoolMetaPercent:     {Name: "pool.meta.percent", Prom: "pool_metadata_used_percent", Unit: "%", Dim: "pool", Slow: true, In: Host, Help: "How full the metadata of a thin pool or volume group is."},
	PoolFree:            {Name: "pool.free", Prom: "pool_group_free_bytes", Unit: "By", Dim: "pool", Slow: true, In: Host, Help: "Free space of the volume group, which a pool can still grow by."},
	SinkSent:            {Name: "sink.sent", Prom: "sink_sent_batches_total", Unit: "{batch}", Kind: Counter, Dim: "sink", In: Agent, Help: "Batches that a back end took."},
	SinkDropped:         {Name: "sink.dropped", Prom: "sink_dropped_batches_total", Unit: "{batch}", Kind: Counter, Dim: "sink", In: Agent, Help: "Batches lost: refused by the back end, too old, or for want of room in the buffer."},
	SinkFailures:        {Name: "sink.failures", Prom: "sink_failures_total", Unit: "{attempt}", Kind: Counter, Dim: "sink", In: Agent, Help: "Attempts to deliver that failed."},
	SinkBuffered:        {Name: "sink.buffered", Prom: "sink_buffered_bytes", Unit: "By", Dim: "sink", In: Agent, Help: "Bytes that wait in the buffer on disk."},
}
