package hostsrv

import "github.com/mosdocker/mosdocker/setmgr/plan"

// Own is what the host's own sets take of it, as they were last looked at: those that our
// cluster does not have here, and that nobody stopped.
func (s *Supervisor) Own() plan.Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum plan.Limits
	for _, x := range s.sets {
		if x.clusters {
			continue
		}
		sum.CPU += x.takes.CPU
		sum.MEM += x.takes.MEM
	}
	return sum
}

// takes is what a set may take of its host: what its cgroup parent holds, and without one
// what its containers hold; of two of a member that is being replaced the larger one.
func takes(o plan.Observed) plan.Limits {
	if o.Stopped() || o.Infra == nil && len(o.Members) == 0 {
		return plan.Limits{}
	}
	of := map[string]plan.Limits{}
	for _, c := range append(infraOf(o), o.Members...) {
		l := of[c.Member]
		of[c.Member] = plan.Limits{CPU: max(l.CPU, c.Limits.CPU), MEM: max(l.MEM, c.Limits.MEM)}
	}
	var sum plan.Limits
	for _, l := range of {
		sum.CPU += l.CPU
		sum.MEM += l.MEM
	}
	if o.Cap.CPU > 0 {
		sum.CPU = o.Cap.CPU
	}
	if o.Cap.MEM > 0 {
		sum.MEM = o.Cap.MEM
	}
	return sum
}
