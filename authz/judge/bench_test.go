package judge

import (
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/authz/policy"
)

// BenchmarkDecision is the time of a decision, bodies read, lookups from memory.
func BenchmarkDecision(b *testing.B) {
	p, err := policy.Parse("bench", []byte("version = 1\n[[who]]\nname = 'a'\nuid = [0]\nprofile = 'tenant'\n"))
	if err != nil {
		b.Fatal(err)
	}
	for name, call := range map[string]string{
		"ping":   "call GET /_ping",
		"exec":   "call POST /v1.45/containers/web/exec\nbody {\"Cmd\":[\"sh\"]}",
		"create": "call POST /v1.45/containers/create\nbody {\"Image\":\"busybox\",\"HostConfig\":{\"NetworkMode\":\"bridge\"}}",
	} {
		b.Run(name, func(b *testing.B) {
			s, err := ParseSuite("bench", "object container web owner=a\nobject image busybox\nwho uid=0\n"+call+"\nwant allow")
			if err != nil {
				b.Fatal(err)
			}
			c := s.Cases[0]
			b.ReportAllocs()
			before := processor(b)
			for b.Loop() {
				if v := Judge(p, c.Front, c.Who, c.Raw, c.things); v.Denied {
					b.Fatal(v.Reason)
				}
			}
			b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op") // what others leave of a busy machine does not count
		})
	}
}

// processor is the processor time of this process, with the collector's.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
