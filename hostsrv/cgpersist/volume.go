package cgpersist

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	volume "github.com/mosdocker/mosdocker/lvmvolume/api"
)

// driver is that of the volumes whose limits are kept here.
const driver = "mos-lvm"

const volumePrefix = "volume/"

// limits are those of a volume, 0 for none.
type limits struct {
	iops, bps uint64
	at        string // where it is mounted, "" while that is not known
}

func (l limits) setting(device string) string {
	s := device
	if l.bps > 0 {
		s += fmt.Sprintf(" rbps=%d wbps=%d", l.bps, l.bps)
	}
	if l.iops > 0 {
		s += fmt.Sprintf(" riops=%d wiops=%d", l.iops, l.iops)
	}
	return s
}

// askLimit is how long mos-lvm may take. What it does not tell stays as it is.
const askLimit = 5 * time.Second

// learn asks mos-lvm for the limits of volumes when containers have some that are not
// known, and now and then.
func (k *Keeper) learn(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.ask:
		case <-tick.C:
		}
		k.mu.Lock()
		used := k.volumesInUse()
		k.mu.Unlock()
		if len(used) == 0 {
			continue
		}
		askCtx, cancel := context.WithTimeout(ctx, askLimit)
		list, err := k.cfg.Volumes(askCtx)
		cancel()
		if err != nil {
			if !failed && ctx.Err() == nil {
				k.log.WarnContext(ctx, "limits of volumes stay as they are: mos-lvm does not tell them", "err", err)
			}
			failed = true
			continue
		}
		failed = false
		k.know(used, list)
	}
}

// know takes what mos-lvm told, and has it looked at when it is news.
func (k *Keeper) know(used []string, list []volume.Volume) {
	now := map[string]limits{}
	for _, name := range used {
		now[name] = limits{} // of one that mos-lvm does not know there are none
	}
	for _, v := range list {
		now[v.Name] = limits{v.IOPS, v.BPS, v.Mountpoint}
	}
	k.mu.Lock()
	news := k.limits == nil || !maps.Equal(k.limits, now)
	k.limits = now
	k.mu.Unlock()
	if news {
		nudge(k.kick)
	}
}

func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// volumesInUse are the names of those that containers have. The caller holds mu.
func (k *Keeper) volumesInUse() (out []string) {
	for _, c := range k.known {
		for _, v := range c.Volumes {
			if v.Driver == driver {
				out = append(out, v.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// volumes are the volumes with limits as subjects: each for the cgroup that all of its
// containers are in, or on version 1, whose limits do not add up, for each of them.
func (k *Keeper) volumes(paths map[string]string) (out []subject) {
	users := map[string][]string{}
	for id, c := range k.known {
		for _, v := range c.Volumes {
			if v.Driver != driver {
				continue
			}
			l, ok := k.limits[v.Name]
			limited := l.iops > 0 || l.bps > 0
			if !ok || limited && l.at == "" {
				nudge(k.ask)
			}
			if limited {
				users[v.Name] = append(users[v.Name], paths[id])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		device, err := deviceOf(k.limits[name].at)
		for _, p := range k.places(users[name]) {
			s := subject{target: Target(volumePrefix + name), path: p, fault: err}
			s.wants = []want{{"io.max", k.limits[name].setting(device), api.CgroupByVolume}}
			out = append(out, s)
		}
	}
	return out
}

// places are the cgroups that get the limits of a volume.
func (k *Keeper) places(out []string) []string {
	slices.Sort(out)
	out = slices.Compact(out)
	if k.kernel.version() == 1 || len(out) == 1 {
		return out
	}
	common := out[0]
	for _, p := range out[1:] {
		for p != common && !strings.HasPrefix(p, strings.TrimSuffix(common, "/")+"/") {
			common = path.Dir(common)
		}
	}
	if common == "/" { // which has no limits
		return out
	}
	return []string{common}
}

// deviceOf is the MAJOR:MINOR of the device that a volume's folder is on.
func deviceOf(source string) (string, error) {
	if source == "" {
		return "0:0", errNoGroup // it is being mounted
	}
	var st, around unix.Stat_t
	if err := unix.Stat(source, &st); err != nil {
		return "0:0", fmt.Errorf("the device of the volume at %s is not found: %w", source, err)
	}
	// Below DIR/ID is the volume's file system, whose DIR is on another.
	if err := unix.Stat(path.Dir(path.Dir(source)), &around); err != nil || around.Dev == st.Dev {
		return "0:0", fmt.Errorf("no volume is mounted at %s as mosd sees it", source)
	}
	return numbers(st.Dev), nil
}
