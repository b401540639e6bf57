package hostsrv

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/setmgr/plan"
)

// held are the members that somebody stopped by docker stop: they stay down until
// somebody starts them, or the host starts, as with Docker alone. They are on disk, so
// that a new daemon knows them.
type held struct {
	path string
	log  *slog.Logger

	mu sync.Mutex // guards all below
	by map[string][]string
	// fresh says that the first daemon since the host started noted which sets it had
	// looked at, and seen are these: a set that is not in it may come from the boot.
	fresh bool
	seen  map[string]bool
	// mending are the sets that are healed right now: what is down there was stopped
	// for that, and not by hand, also for the daemon that comes after one that died.
	mending map[string]bool
	// limits are those that the containers of sets had when they were looked at last, by id.
	limits map[string]map[string]string
	// ours are new containers that this daemon made, or one before it, while the old ones
	// are there, by set and member; refused are those that did not get ready.
	ours    map[string]map[string]int
	refused map[string]map[string]refusal
}

// kept is a held on disk.
type kept struct {
	Held    map[string][]string `json:"held"`
	Mending map[string]bool     `json:"mending,omitempty"`
	Fresh   bool                `json:"fresh,omitempty"` // not in files of releases that had none
	Seen    map[string]bool     `json:"seen,omitempty"`

	Limits  map[string]map[string]string  `json:"limits,omitempty"` // as above
	Ours    map[string]map[string]int     `json:"ours,omitempty"`
	Refused map[string]map[string]refusal `json:"refused,omitempty"`
}

func openHeld(dir string, log *slog.Logger) *held {
	h := &held{path: filepath.Join(dir, "held.json"), log: log, by: map[string][]string{}, mending: map[string]bool{}, seen: map[string]bool{}, limits: map[string]map[string]string{}, ours: map[string]map[string]int{}, refused: map[string]map[string]refusal{}}
	var k kept
	data, err := os.ReadFile(h.path)
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Members that are down and could run are left so at the first look anyway.
		log.Warn("which members were stopped by hand is not known", "err", err)
	}
	maps.Copy(h.by, k.Held)
	maps.Copy(h.mending, k.Mending)
	maps.Copy(h.seen, k.Seen)
	maps.Copy(h.limits, k.Limits)
	maps.Copy(h.ours, k.Ours)
	maps.Copy(h.refused, k.Refused)
	h.fresh = k.Fresh
	if errors.Is(err, fs.ErrNotExist) {
		h.fresh = true
		h.save()
	}
	return h
}

// unseen says whether no daemon looked at a set since the host started, as far as is known.
func (h *held) unseen(set string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fresh && !h.seen[set]
}

// see says that a set was looked at, and is in order.
func (h *held) see(set string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.fresh || h.seen[set] {
		return
	}
	h.seen[set] = true
	h.save()
}

// forget drops all that is known of a set that is gone.
func (h *held) forget(set string) {
	h.remove(set, "")
	h.mend(set, false)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen[set] || h.limits[set] != nil || h.ours[set] != nil || h.refused[set] != nil {
		delete(h.seen, set)
		delete(h.limits, set)
		delete(h.ours, set)
		delete(h.refused, set)
		h.save()
	}
}

func (h *held) of(set string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.by[set])
}

// mend says that a set is healed from here on, or not any more.
func (h *held) mend(set string, now bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mending[set] == now {
		return
	}
	if h.mending[set] = now; !now {
		delete(h.mending, set)
	}
	h.save()
}

func (h *held) mends(set string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mending[set]
}

func (h *held) add(set, member string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.by[set], member) {
		h.by[set] = append(h.by[set], member)
		h.save()
	}
}

// remove forgets a member, "" all of the set.
func (h *held) remove(set, member string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.by[set])
	if n == 0 {
		return
	}
	h.by[set] = slices.DeleteFunc(h.by[set], func(m string) bool { return member == "" || m == member })
	if len(h.by[set]) == 0 {
		delete(h.by, set)
	}
	if len(h.by[set]) != n {
		h.save()
	}
}

// clear forgets all: an Engine that starts again starts what was stopped by hand, or by
// its own end. unless-stopped is found again, see findHeld.
func (h *held) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.by) > 0 {
		clear(h.by)
		h.save()
	}
}

// limitsOf are those that the containers of a set had when they were looked at last, also
// by an earlier daemon.
func (h *held) limitsOf(set string) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.limits[set]
}

// keepLimits keeps what containers of a set have now; nil forgets it.
func (h *held) keepLimits(set string, now map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if maps.Equal(h.limits[set], now) {
		return
	}
	h.limits[set] = now
	if now == nil {
		delete(h.limits, set)
	}
	h.save()
}

// save writes what is held. Without it a new daemon takes members that are down for
// stopped by hand. The caller holds mu.
func (h *held) save() {
	data, err := json.Marshal(kept{h.by, h.mending, h.fresh, h.seen, h.limits, h.ours, h.refused})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(h.path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(h.path+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(h.path+".new", h.path)
	}
	if err != nil {
		h.log.Warn("which members were stopped by hand is not kept", "err", err)
	}
}

// findHeld takes members that are down when a set is seen first, and that the Engine
// would have started, for stopped by hand. After a start of the Engine that are only
// those of unless-stopped.
func (s *Supervisor) findHeld(name string, o plan.Observed, restarted bool) {
	n := map[string]int{}
	for _, c := range o.Members {
		n[c.Member]++
	}
	for _, c := range o.Members {
		if n[c.Member] == 1 && down(c) && lasts(c) && (!restarted || c.Restart == "unless-stopped") {
			s.held.add(name, c.Member)
		}
	}
}

// mayBeByHand is how long to wait for what an Engine tells of a member that just ended: that
// it was stopped by hand comes after the end. One that the Engine would start again and is
// down all the same was, most likely.
func (s *Supervisor) mayBeByHand(name string, o plan.Observed, held, replaced []string) (wait time.Duration) {
	if s.held.mends(name) {
		return 0 // by us
	}
	for _, c := range o.Members {
		ago := time.Since(c.Finished) // negative when the clock was set back
		if down(c) && lasts(c) && !slices.Contains(held, c.Member) && !slices.Contains(replaced, c.Member) && ago >= 0 {
			wait = max(wait, stopTold-ago)
		}
	}
	return wait
}

// lasts says whether the Engine starts a container again, however it ended.
func lasts(c plan.Container) bool { return c.Restart == "always" || c.Restart == "unless-stopped" }

// ended are the members that ended, and that their restart policies leave so, or that
// their Backoff starts again later; after the start of a host all of the latter are
// started at once, and in order.
func ended(o plan.Observed, started bool) []string {
	var out []string
	for _, c := range o.Members {
		if own, ok := backoff(c); ok && started && own.StartsAgain(c.ExitCode) {
			continue
		}
		if down(c) && !lasts(c) && (c.ExitCode == 0 || !strings.HasPrefix(c.Restart, "on-failure") || c.Restarts > 0) {
			out = append(out, c.Member)
		}
	}
	return out
}
