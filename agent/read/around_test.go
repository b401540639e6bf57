package read

import (
	"strconv"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/metric"
)

// Two files of a cgroup that is still spare those of all in it.
func TestNothingIsReadInACgroupThatIsStill(t *testing.T) {
	for _, name := range []string{"v1", "v2"} {
		t.Run(name, func(t *testing.T) {
			cpu := map[string]string{"v1": "/cpuacct/c/cpuacct.usage", "v2": "/c/cpu.stat"}[name]
			memory := map[string]string{"v1": "/memory/c/memory.usage_in_bytes", "v2": "/c/memory.current"}[name]
			key := map[string]string{"v1": "", "v2": "usage_usec "}[name]
			s, dir := fixture(t, name)
			_, above := fixture(t, name)
			tree := cgroup.Tree{V2: above, Unified: true}
			if name == "v1" {
				tree = cgroup.Tree{V2: above + "/unified", V1: map[string]string{"cpuacct": above + "/cpuacct", "memory": above + "/memory"}}
			}
			around, err := NewAround(tree, &metric.Object{Scope: metric.Set, Cgroup: "/c"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(around.Close)
			s.Within(around)
			b, second := new(Buffer), int64(100)
			check := func(what string, all bool, want string) {
				t.Helper()
				second++
				around.Sample(b, time.Unix(second, 0), all)
				s.Sample(b, time.Unix(second, 0), all)
				v, ok := s.Point.Get(metric.MemUsage)
				if _, ok2 := s.Point.Get(metric.CPUUsage); !ok || !ok2 || text(v) != want {
					t.Errorf("%s: memory %v %v, CPU time %v, want %s", what, v, ok, ok2, want)
				}
			}
			n := 0
			set := func(file, key string) string {
				n++
				write(t, file, key+text(float64(n))+"\n")
				return text(float64(n))
			}
			now := set(dir+memory, "")
			check("at first", true, now)
			old := now
			now = set(dir+memory, "")
			check("all else is still", false, old)
			set(above+cpu, key)
			check("something ran", false, now)
			check("it is still again", false, now)
			old = now
			now = set(dir+memory, "")
			check("it is still", false, old)
			set(above+memory, "")
			check("memory moved", false, now)
			now = set(dir+memory, "")
			check("slow", true, now)
			around.Close()
			now = set(dir+memory, "")
			s.Sample(b, time.Unix(second+1, 0), false)
			if v, ok := s.Point.Get(metric.MemUsage); !ok || text(v) != now {
				t.Errorf("nothing is known around it: memory %v %v, want %s", v, ok, now)
			}
		})
	}
}

// Version 1 did not always count what is below.
func TestACgroupThatCountsItselfOnlySaysNothing(t *testing.T) {
	_, dir := fixture(t, "v1")
	write(t, dir+"/memory/c/memory.use_hierarchy", "0\n")
	tree := cgroup.Tree{V1: map[string]string{"cpuacct": dir + "/cpuacct", "memory": dir + "/memory"}}
	if s, err := NewAround(tree, &metric.Object{Scope: metric.Set, Cgroup: "/c"}); err == nil {
		s.Close()
		t.Error("it is taken for the sum of what is below")
	}
	write(t, dir+"/memory/c/memory.use_hierarchy", "1\n")
	s, err := NewAround(tree, &metric.Object{Scope: metric.Set, Cgroup: "/c"})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func text(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
