package read

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/internal/testx"
)

// fixture unpacks a cgroup's files and opens them.
func fixture(tb testing.TB, name string) (*Source, string) {
	tb.Helper()
	a, err := txtar.ParseFile("testdata/" + name + ".txtar")
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	if err := txtar.Write(a, dir); err != nil {
		tb.Fatal(err)
	}
	tree := cgroup.Tree{V2: dir, Unified: true}
	if name == "v1" {
		tree = cgroup.Tree{V2: dir + "/unified", V1: map[string]string{}}
		for _, c := range []string{"cpu", "cpuacct", "memory", "blkio", "pids"} {
			tree.V1[c] = filepath.Join(dir, c)
		}
	}
	s, err := NewContainer(tree, &metric.Object{Scope: metric.Container, Cgroup: "/c"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s, dir
}

func TestEveryFileOfACgroupIsRead(t *testing.T) {
	for _, name := range []string{"v1", "v2"} {
		t.Run(name, func(t *testing.T) {
			s, _ := fixture(t, name)
			if !s.Sample(new(Buffer), time.Unix(100, 0), true) {
				t.Fatal("it is said to have ended")
			}
			testx.Golden(t, name+".golden", s.Point.String())
			if s.Errors != 0 {
				t.Errorf("%d errors", s.Errors)
			}
		})
	}
}

func TestPercentsOfLimitsFollowTheValues(t *testing.T) {
	s, dir := fixture(t, "v1")
	b := new(Buffer)
	s.Sample(b, time.Unix(100, 0), true)
	if _, ok := s.Point.Get(metric.CPULimitPercent); ok {
		t.Error("the first sample has a rate")
	}
	write(t, dir+"/cpuacct/c/cpuacct.usage", "9623456789\n") // 1.5 s more
	s.Sample(b, time.Unix(102, 0), false)
	// 0.75 of 1.5 cores.
	if v, ok := s.Point.Get(metric.CPULimitPercent); !ok || math.Abs(v-50) > 1e-9 {
		t.Errorf("CPU: %v %v, want 50", v, ok)
	}
	// The working set is 30 of 64 MiB, and the limit is known from the slow sample.
	if v, _ := s.Point.Get(metric.MemLimitPercent); v != 100*30.0/64 {
		t.Errorf("memory: %v", v)
	}
	if v, _ := s.Point.Get(metric.PidsLimitPercent); v != 25 {
		t.Errorf("threads: %v", v)
	}
	// A clock that jumps back, and a counter that begins anew, give no rate.
	s.Sample(b, time.Unix(50, 0), false)
	if v, ok := s.Point.Get(metric.CPULimitPercent); ok {
		t.Errorf("clock jumped back: %v", v)
	}
	write(t, dir+"/cpuacct/c/cpuacct.usage", "5\n")
	s.Sample(b, time.Unix(51, 0), false)
	if v, ok := s.Point.Get(metric.CPULimitPercent); ok {
		t.Errorf("counter began anew: %v", v)
	}
}

// What cannot have changed is not read: this is what keeps idle containers cheap.
func TestLazyValuesAreReadWhenSomethingRanOrMemoryMoved(t *testing.T) {
	for _, name := range []string{"v1", "v2"} {
		t.Run(name, func(t *testing.T) {
			s, dir := fixture(t, name)
			at := func(v1, v2 string) string { return dir + map[string]string{"v1": v1, "v2": v2}[name] }
			cpu, key := at("/cpuacct/c/cpuacct.usage", "/c/cpu.stat"), map[string]string{"v1": "", "v2": "usage_usec "}[name]
			stat, rss := at("/memory/c/memory.stat", "/c/memory.stat"), map[string]string{"v1": "total_rss ", "v2": "anon "}[name]
			usage, pids := at("/memory/c/memory.usage_in_bytes", "/c/memory.current"), at("/pids/c/pids.current", "/c/pids.current")
			b, second := new(Buffer), int64(100)
			check := func(what string, all bool, memory, threads float64) {
				t.Helper()
				second++
				s.Sample(b, time.Unix(second, 0), all)
				m, ok := s.Point.Get(metric.MemRSS)
				n, ok2 := s.Point.Get(metric.Threads)
				if !ok || !ok2 || m != memory || n != threads {
					t.Errorf("%s: rss %v %v, threads %v %v, want %v and %v", what, m, ok, n, ok2, memory, threads)
				}
			}
			write(t, stat, rss+"1\n")
			write(t, pids, "1\n")
			write(t, cpu, key+"1000\n")
			check("at first", true, 1, 1)
			write(t, stat, rss+"2\n")
			write(t, pids, "2\n")
			check("quiet", false, 1, 1)
			write(t, usage, "50000000\n")
			check("memory moved", false, 2, 1)
			write(t, cpu, key+"2000\n")
			check("ran", false, 2, 2)
			write(t, pids, "3\n")
			check("slow", true, 2, 3)
			// What is gone is not kept when it is looked for.
			write(t, stat, "")
			write(t, cpu, key+"3000\n")
			s.Sample(b, time.Unix(300, 0), false)
			if v, ok := s.Point.Get(metric.MemRSS); ok {
				t.Errorf("an old value stayed: %v", v)
			}
		})
	}
}

func TestBrokenFilesGiveNoValues(t *testing.T) {
	for _, text := range []string{"", "\n", "max\n", "-5\n", "99999999999999999999999999\n", "x 1\nusage_usec\n", ": : :\n", "8:\n8:0\n8:0 rbytes\n8:0 rbytes=\n:0 rbytes=1\n", "some\nfull total=\n", "cpu", strings.Repeat("9", 70_000)} {
		for _, name := range []string{"v1", "v2"} {
			s, dir := fixture(t, name)
			_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, _ error) error {
				if !d.IsDir() {
					write(t, p, text)
				}
				return nil
			})
			if !s.Sample(new(Buffer), time.Unix(1, 0), true) {
				t.Fatalf("%q: it is said to have ended", text)
			}
			for _, v := range s.Point.Series {
				if v.OK && v.ID != metric.Processes && text != "-5\n" {
					t.Errorf("%s %.20q: %s is %v", name, text, metric.Of(v.ID).Name, v.Value)
				}
			}
			s.Close()
		}
	}
}

func TestFilesLongerThanTheBufferAreReadWhole(t *testing.T) {
	s, dir := fixture(t, "v2")
	write(t, dir+"/c/memory.stat", strings.Repeat("nothing 1\n", 9_000)+"anon 77\n")
	s.Sample(new(Buffer), time.Unix(1, 0), true)
	if v, ok := s.Point.Get(metric.MemRSS); !ok || v != 77 {
		t.Errorf("rss %v %v, want 77", v, ok)
	}
}

func TestSamplesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	host, err := NewHost(cgroup.Tree{}, &metric.Object{Scope: metric.Host})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	host.AddFileSystem(FileSystem{Name: "root", Path: "/"})
	sources := []*Source{host}
	for _, name := range []string{"v1", "v2"} {
		s, _ := fixture(t, name)
		s.kept = append(s.kept, kept{&file{many: true, when: slow, parse: processes}, ownPids(t)})
		if err := s.AddNet(os.Getpid(), nil); err != nil {
			t.Fatal(err)
		}
		sources = append(sources, s)
	}
	b, now := new(Buffer), time.Unix(100, 0)
	for _, slow := range []bool{false, true} {
		n := testing.AllocsPerRun(50, func() {
			now = now.Add(time.Second)
			for _, s := range sources {
				if !s.Sample(b, now, slow) {
					t.Error("ended")
				}
			}
		})
		if n != 0 {
			t.Errorf("slow %v: %v allocations a sample, want 0", slow, n)
		}
	}
	if v, ok := sources[1].Point.Get(metric.FDs); !ok || v < 3 {
		t.Errorf("open files %v %v", v, ok)
	}
}

// ownPids is an open file that lists this process.
func ownPids(t *testing.T) int {
	t.Helper()
	name := filepath.Join(t.TempDir(), "procs")
	write(t, name, strconv.Itoa(os.Getpid())+"\n")
	fd, err := open(name)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// /proc/self shows the first thread: one that enters a namespace must be another.
// What a container's figures take is kept for each container, so only the figures may be:
// what is read into is one for all.
func TestSourcesReadIntoOneBuffer(t *testing.T) {
	buf, sources := new(Buffer), make([]*Source, 9)
	for i := range sources {
		s, _ := fixture(t, "v1")
		if err := s.AddNet(os.Getpid(), nil); err != nil {
			t.Fatal(err)
		}
		sources[i] = s
	}
	sources[0].Sample(buf, time.Unix(100, 0), true)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, s := range sources[1:] {
		s.Sample(buf, time.Unix(100, 0), true)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / uint64(len(sources)-1); each > 20<<10 {
		t.Errorf("the first sample of a source takes %d bytes", each)
	}
	if got := sources[1].Point.String(); !strings.Contains(got, "tcp.states{") {
		t.Errorf("no states of TCP:\n%s", got)
	}
}

func TestTheFirstThreadStaysWhereItIs(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range 200 {
		err := onThrownThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				return errors.New("it is the first")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestHostIsRead(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		if l, err := net.Listen("tcp", address); err == nil {
			defer l.Close()
		}
	}
	s, err := NewHost(cgroup.Tree{}, &metric.Object{Scope: metric.Host})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.AddFileSystem(FileSystem{Name: "root", Path: "/"})
	s.AddFileSystem(FileSystem{Name: "gone", Path: "/no/such/place"})
	s.Sample(new(Buffer), time.Now(), true)
	for id, def := range metric.Table() {
		if def.In&metric.Host == 0 || metric.ID(id) == metric.DyingCgroups || metric.ID(id) == metric.Images || metric.ID(id) == metric.ImagesSize || def.Dim != "" || strings.HasPrefix(def.Name, "pressure.irq") {
			continue
		}
		if v, ok := s.Point.Get(metric.ID(id)); !ok || v < 0 {
			t.Errorf("%s: %v %v", def.Name, v, ok)
		}
	}
	text := s.Point.String()
	if !strings.Contains(text, `fs.size{volume="root"}`) || strings.Contains(text, "gone") || strings.Contains(text, `"lo"`) {
		t.Errorf("volumes or links are wrong:\n%s", text)
	}
	listen, _ := exec.Command("sh", "-c", "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\"' | wc -l").Output()
	if want := fmt.Sprintf(`tcp.states{tcp_state="listen"} %s {socket}`, strings.TrimSpace(string(listen))); !strings.Contains(text, want) || strings.TrimSpace(string(listen)) == "0" {
		t.Errorf("no %s in\n%s", want, text)
	}
	// Independent readings: meminfo in words, and the sum of CPU times.
	up, err := exec.Command("awk", `/^MemTotal/ {print $2 * 1024}`, "/proc/meminfo").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := strconv.ParseFloat(strings.TrimSpace(string(up)), 64)
	if v, _ := s.Point.Get(metric.MemTotal); math.Abs(v-want) > 1<<20 {
		t.Errorf("memory %v, want %v", v, want)
	}
}

// TestTimesOfDisks compares with what awk reads before and after.
func TestTimesOfDisks(t *testing.T) {
	read := func() (name string, ms [3]float64) { // of the busiest disk
		out, err := exec.Command("sh", "-c", "grep -Ev ' (loop|ram|zram)[0-9]+ ' /proc/diskstats | sort -nrk13 | awk 'NR == 1 {print $3, $7, $11, $13}'").Output()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(string(out), &name, &ms[0], &ms[1], &ms[2]); err != nil {
			t.Skipf("no disk: %v", err)
		}
		return name, ms
	}
	s, err := NewHost(cgroup.Tree{}, &metric.Object{Scope: metric.Host})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	name, before := read()
	s.Sample(new(Buffer), time.Now(), true)
	_, after := read()
	for i, id := range []metric.ID{metric.IOReadTime, metric.IOWriteTime, metric.IOBusy} {
		found := false
		for _, v := range s.Point.Series {
			if v.ID == id && v.Dim == "/dev/"+name {
				found = true
				if v.Value < before[i]/1000 || v.Value > after[i]/1000 {
					t.Errorf("%s of %s: %v, want %v to %v ms", metric.Of(id).Name, name, v.Value, before[i], after[i])
				}
			}
		}
		if !found {
			t.Errorf("no %s of %s", metric.Of(id).Name, name)
		}
	}
}

func write(tb testing.TB, name, text string) {
	tb.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkSample(b *testing.B) {
	s, _ := fixture(b, "v1")
	buf, now := new(Buffer), time.Unix(100, 0)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		s.Sample(buf, now, false)
	}
}

func FuzzParsers(f *testing.F) {
	for _, name := range []string{"v1", "v2"} {
		a, err := txtar.ParseFile("testdata/" + name + ".txtar")
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(file.Data)
		}
	}
	f.Add([]byte("Inter-|\n face |\n eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"))
	f.Add([]byte("TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 144\nTcp: 1 200 120000 -1 1079 992 7 113 0 221052 210146 835 0 116 0\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		// It must neither panic nor run for ever, whatever the kernel writes.
		for _, group := range []bool{true, false} {
			s := &Source{Point: metric.NewPoint(&metric.Object{}), group: group}
			tables := [][]file{hostFiles, netFiles}
			if group {
				tables = [][]file{version1, version2, netFiles}
			}
			for _, files := range tables {
				for _, f := range files {
					f.parse(s, data)
				}
			}
			_ = s.Point.String()
		}
	})
}
