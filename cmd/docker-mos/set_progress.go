package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
)

// setProgress says how the steps of a plan go, on standard error: a line a step
// that is done, and on a terminal one line below that shows what is under way. Its
// methods may be called at once.
type setProgress struct {
	w    io.Writer // nil: nobody looks
	tty  bool
	json bool
	heal bool // restarts count

	mu    sync.Mutex // guards all below
	p     plan.Plan
	start time.Time
	done  int
	now   map[int]plan.Step // under way
	pull  string            // how far the last pull is
	took  map[int]time.Duration
	again []string // containers that were started
	drawn bool     // the line below is there
}

func newSetProgress(cmd *cobra.Command, form string, quiet bool) (*setProgress, error) {
	s := &setProgress{w: cmd.ErrOrStderr(), now: map[int]plan.Step{}, took: map[int]time.Duration{}}
	switch form {
	case "auto":
		s.tty = terminal(s.w)
	case "tty":
		s.tty = true
	case "json":
		s.json = true
	case "plain":
	default:
		return nil, usage("--progress %s is not known: want auto, tty, plain or json", form)
	}
	if quiet {
		s.w = nil
	}
	return s, nil
}

func (s *setProgress) begin(p plan.Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p, s.start = p, time.Now()
}

// setLine is one line of --progress json.
type setLine struct {
	Set       string  `json:"set"`
	Step      int     `json:"step,omitempty"`
	Op        string  `json:"op,omitempty"`
	Object    string  `json:"object,omitempty"`
	Container string  `json:"container,omitempty"`
	Phase     string  `json:"phase"`
	Cause     string  `json:"cause,omitempty"`
	Status    string  `json:"status,omitempty"`
	Done      int64   `json:"done,omitempty"`
	Total     int64   `json:"total,omitempty"`
	Elapsed   float64 `json:"elapsed_ms"`
	Error     string  `json:"error,omitempty"`
	// Restarts is of the end of a heal: the containers that it started.
	Restarts *[]string `json:"restarts,omitempty"`
}

func (s *setProgress) event(e setmgr.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Phase {
	case setmgr.Begun:
		s.now[e.Step.ID] = e.Step
	case setmgr.Done, setmgr.Failed:
		delete(s.now, e.Step.ID)
		s.took[e.Step.ID] = e.Elapsed
		if e.Step.Op == plan.Start && e.Err == nil {
			s.again = append(s.again, e.Step.Name)
		}
		s.done++
	case setmgr.Progress:
		s.pull = e.Step.Name + " " + e.Status
		if e.Total > 0 {
			s.pull += fmt.Sprintf(" %d %%", 100*e.Done/e.Total)
		}
	}
	if s.w == nil {
		return
	}
	if s.json {
		l := setLine{
			Set: s.p.Set, Step: e.Step.ID, Op: string(e.Step.Op), Object: e.Step.Name, Container: e.Step.Member, Phase: string(e.Phase),
			Cause: e.Step.Cause, Status: e.Status, Done: e.Done, Total: e.Total, Elapsed: ms(e.Elapsed),
		}
		if e.Err != nil {
			l.Error = e.Err.Error()
		}
		s.encode(l)
		return
	}
	s.erase()
	if e.Phase == setmgr.Done || e.Phase == setmgr.Failed {
		mark := "✔"
		if e.Err != nil {
			mark = "✘"
		}
		if !s.tty {
			mark = string(e.Phase)
		}
		why := ""
		if e.Err != nil && e.Step.MayFail { // nobody else says it
			why = ": " + e.Err.Error()
		}
		_, _ = fmt.Fprintf(s.w, "%s %s %s (%s)%s\n", mark, e.Step.Op, e.Step.Name, short(e.Elapsed), why)
	}
	s.draw()
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

func (s *setProgress) encode(l setLine) {
	b, err := json.Marshal(l)
	if err == nil {
		_, _ = fmt.Fprintf(s.w, "%s\n", b)
	}
}

// draw writes the line that is erased before the next.
func (s *setProgress) draw() {
	if !s.tty || len(s.now) == 0 {
		return
	}
	var ids []int
	for id := range s.now {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var names []string
	for _, id := range ids {
		names = append(names, string(s.now[id].Op)+" "+s.now[id].Name)
	}
	line := fmt.Sprintf("[%d/%d] %s", s.done, len(s.p.Steps), strings.Join(names, ", "))
	if s.pull != "" && slices.ContainsFunc(ids, func(id int) bool { return s.now[id].Op == plan.Pull }) {
		line += " · " + s.pull
	}
	if r := []rune(line); len(r) > 78 {
		line = string(r[:77]) + "…"
	}
	_, _ = fmt.Fprint(s.w, line)
	s.drawn = true
}

func (s *setProgress) erase() {
	if s.drawn {
		_, _ = fmt.Fprint(s.w, "\r\x1b[K")
		s.drawn = false
	}
}

// end says how long it took, and what of it was the slowest.
func (s *setProgress) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w == nil {
		return
	}
	s.erase()
	total := time.Since(s.start)
	if s.json {
		l := setLine{Set: s.p.Set, Phase: "end", Elapsed: ms(total)}
		if err != nil {
			l.Error = err.Error()
		}
		if s.heal {
			again := append([]string{}, s.again...)
			l.Restarts = &again
		}
		s.encode(l)
		return
	}
	if s.heal {
		_, _ = fmt.Fprintf(s.w, "set %s: %s\n", s.p.Set, restarts(s.again))
	}
	if err != nil {
		return
	}
	if len(s.p.Steps) == 0 {
		if len(s.p.Warnings) == 0 { // else these say how it is
			_, _ = fmt.Fprintf(s.w, "set %s is as it should be\n", s.p.Set)
		}
		return
	}
	slowest := s.p.Steps[0]
	for _, st := range s.p.Steps {
		if s.took[st.ID] > s.took[slowest.ID] {
			slowest = st
		}
	}
	_, _ = fmt.Fprintf(s.w, "set %s: %s in %s, the slowest: %s %s (%s)\n", s.p.Set, count(len(s.p.Steps), "step"), short(total), slowest.Op, slowest.Name, short(s.took[slowest.ID]))
}

func restarts(names []string) string {
	if len(names) == 0 {
		return "no restarts"
	}
	return count(len(names), "restart") + ": " + strings.Join(names, ", ")
}

// count is a number of things, of which more than one end in s.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
