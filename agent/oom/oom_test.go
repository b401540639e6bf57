package oom

import (
	"testing"
)

func TestRecordsAreRead(t *testing.T) {
	for record, want := range map[string]Kill{
		"6,1234,5678901,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/docker/0a,task_memcg=/docker/0a,task=tail,pid=123,uid=0\n SUBSYSTEM=x\n": {"tail", 123, "/docker/0a", "/docker/0a"},
		"6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/system.slice/docker-0a.scope,task=a,pid=1,uid=x,pid=77,uid=0":          {"a,pid=1,uid=x", 77, "/system.slice/docker-0a.scope", ""},
		"6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/mosset.slice/mosset-web.slice,task_memcg=/mosset.slice/mosset-web.slice/0a,task=sh,pid=9,uid=0":                           {"sh", 9, "/mosset.slice/mosset-web.slice/0a", "/mosset.slice/mosset-web.slice"},
		"6,1,2,-;Memory cgroup out of memory: Killed process 123 (tail)": {},
		"6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,task=x":            {},
		"6,1,2,-;oom-kill:task_memcg=/a,task=x,pid=-5,uid=0":             {},
		"": {}, ";": {}, "oom-kill:": {},
	} {
		got, ok := Parse(record)
		if ok != (want.Pid > 0) || ok && got != want {
			t.Errorf("%.60q: got %+v %v, want %+v", record, got, ok, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/a,task_memcg=/b,task=tail,pid=123,uid=0\n")
	f.Fuzz(func(t *testing.T, record string) {
		if k, ok := Parse(record); ok && k.Pid <= 0 {
			t.Errorf("%+v", k)
		}
	})
}
