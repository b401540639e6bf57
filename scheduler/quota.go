package scheduler

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Usage is what so many sets of a template need in sum.
func Usage(set *spec.Set, sets int) api.Usage {
	a, n := need(set), int64(sets)
	return api.Usage{Sets: sets, Amounts: api.Amounts{CPU: a[place.CPU] * n, Memory: a[place.Memory] * n, Disk: a[place.Disk] * n}}
}

// Sum adds what is used.
func Sum(a, b api.Usage) api.Usage {
	return api.Usage{Sets: a.Sets + b.Sets, Amounts: api.Amounts{CPU: a.CPU + b.CPU, Memory: a.Memory + b.Memory, Disk: a.Disk + b.Disk}}
}

// Exceeded says where a quota has no room for more than is used: what is used, and how much
// is allowed. It says nothing if there is room, or no more is asked for.
func Exceeded(q *api.Quota, used, more api.Usage) string {
	var all []string
	over := func(used, more, most int64, show func(int64) string, what string) {
		if more > 0 && most > 0 && used+more > most {
			all = append(all, fmt.Sprintf("%s of %s%s are used, and %s more asked for", show(used), show(most), what, show(more)))
		}
	}
	over(int64(used.Sets), int64(more.Sets), int64(q.Spec.Sets), func(n int64) string { return strconv.FormatInt(n, 10) }, " sets")
	has, asks, most := amounts(used.Amounts), amounts(more.Amounts), amounts(q.Spec.Amounts)
	for _, r := range []place.Resource{place.CPU, place.Memory, place.Disk} {
		over(has[r], asks[r], most[r], func(n int64) string { return place.Show(r, n) }, " "+r.String())
	}
	if len(all) == 0 {
		return ""
	}
	return "quota of tenant " + q.Name + ": " + strings.Join(all, ", ")
}

// Unbounded says what a quota bounds of which a set says no amount, so that it may take any:
// nothing if there is none.
func Unbounded(q *api.Quota, set *spec.Set) string {
	free := func(bounded int64, whole bool, own func(spec.Options) bool) string {
		if bounded == 0 || whole {
			return ""
		}
		for _, c := range set.Containers {
			if !own(c.Options) {
				return c.Name
			}
		}
		return ""
	}
	says := "quota of tenant " + q.Name + ": it bounds "
	if c := free(q.Spec.CPU, set.CPU > 0, func(o spec.Options) bool { return o.Cores > 0 }); c != "" {
		return says + "CPU, and container " + c + " has no limit of it: give the set CPU, or each container Cores"
	}
	if c := free(q.Spec.Memory, set.MEM > 0, func(o spec.Options) bool { return o.Memory > 0 }); c != "" {
		return says + "memory, and container " + c + " has no limit of it: give the set MEM, or each container Memory"
	}
	if q.Spec.Disk > 0 && set.Volume != nil && set.Volume.Size == 0 {
		return says + "volume space, and the set's volume has no Size"
	}
	return ""
}
