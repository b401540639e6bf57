package hostsrv

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
)

// process is the first one of a container that was seen to run.
type process struct {
	name, member string
	pid          int
	start        string // see born
}

// born is when a process was started, in the kernel's ticks, so that another one of its
// id is told apart; "" of one that is no more (proc(5), stat).
func born(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	const state, start = 0, 19 // behind the name, which may have blanks and brackets
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) <= start || f[state] == "Z" || f[state] == "X" {
		return ""
	}
	return f[start]
}

// processes are those of the containers that run, if the kernel here is theirs: who can
// reach into their networks sees them.
func processes(m *setmgr.Manager, o plan.Observed) (out []process) {
	if m.Dial == nil {
		return nil
	}
	for _, c := range append(infraOf(o), o.Members...) {
		if start := born(c.PID); c.State == plan.Running && c.PID > 0 && start != "" {
			out = append(out, process{c.Name, c.Member, c.PID, start})
		}
	}
	return out
}

// lookAtProcesses tells of containers that ended while the Engine hangs, which tells
// nobody then, and starts none again. While it answers its events come sooner.
func (s *Supervisor) lookAtProcesses(ctx context.Context) {
	type end struct {
		set string
		process
	}
	var ends []end
	s.mu.Lock()
	if s.engine.State == api.Hung {
		for name, x := range s.sets {
			var live []process
			for _, p := range x.processes {
				if born(p.pid) == p.start {
					live = append(live, p)
				} else {
					ends = append(ends, end{name, p})
				}
			}
			x.processes = live
		}
	}
	s.mu.Unlock()
	for _, e := range ends {
		text := fmt.Sprintf("container %s ended while the Engine hangs, which starts nobody again before it answers", e.name)
		s.note(ctx, "end", e.set, e.member, text)
		s.state(e.set, api.Failing, text)
	}
}
