package hostsrv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// Restart says what is done about an Engine that hangs.
type Restart struct {
	Command []string        `toml:"command" doc:"Restarts an Engine that hangs, such as systemctl, restart, docker; empty is never. It is run only while live-restore is on: else all containers would end."`
	After   config.Duration `toml:"after" doc:"How long the Engine must have hung."`
	Pause   config.Duration `toml:"pause" doc:"Least time from one restart to the next."`
}

// restartLimit is how long the command may take: systemd alone waits 90 s for an Engine
// that does not end when it is told to.
const restartLimit = 5 * time.Minute

// live-restore can be switched while the Engine runs.
const askLiveRestore = time.Minute

// learn asks an Engine whether its containers outlive it, which nobody can ask while it
// hangs.
func (s *Supervisor) learn(ctx context.Context, e Engine) {
	ctx, cancel := context.WithTimeout(ctx, hungAfter)
	defer cancel()
	on, err := e.LiveRestores(ctx)
	if err != nil {
		return
	}
	state := api.LiveRestoreOff
	if on {
		state = api.LiveRestoreOn
	}
	s.mu.Lock()
	before := s.engine.LiveRestore
	s.engine.LiveRestore = state
	s.mu.Unlock()
	if before != state && !on && len(s.cfg.Restart.Command) > 0 {
		s.note(ctx, "engine", "", "", "the Engine will not be restarted when it hangs: "+noLiveRestore)
	}
}

const noLiveRestore = `live-restore is off, and all containers would end: put "live-restore": true into its daemon.json and reload it`

// restartEngine restarts an Engine that has hung for long enough, if that is wanted and may
// be. It is called again and again; the command runs beside.
func (s *Supervisor) restartEngine(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, cfg := &s.engine, s.cfg.Restart
	if e.State != api.Hung || len(cfg.Command) == 0 || s.restarting || time.Since(e.Since) < cfg.After.Duration {
		return
	}
	why := ""
	switch next := s.restarted.Add(cfg.Pause.Duration); {
	case e.LiveRestore == api.LiveRestoreOff:
		why = noLiveRestore
	case e.LiveRestore == "":
		why = "whether live-restore is on is not known: it has not answered since mosd runs"
	case !s.restarted.IsZero() && time.Now().Before(next):
		why = fmt.Sprintf("it was at %s, which %s, and is at %s at the earliest", s.restarted.UTC().Format(time.TimeOnly), s.outcome, next.UTC().Format(time.TimeOnly))
	}
	if why != "" {
		if text := "it is not restarted: " + why; e.Recovery != text {
			e.Recovery = text
			s.work.Go(func() { s.note(ctx, "engine", "", "", "the Engine hangs, and "+text) })
		}
		return
	}
	s.restarting, s.restarted = true, time.Now()
	e.Restarts++
	e.Recovery = "it is being restarted"
	hung := time.Since(e.Since).Round(time.Second)
	s.work.Go(func() { s.runRestart(ctx, slices.Clone(cfg.Command), hung) })
}

// runRestart runs the command that restarts the Engine.
func (s *Supervisor) runRestart(ctx context.Context, argv []string, hung time.Duration) {
	s.note(ctx, "engine", "", "", fmt.Sprintf("the Engine has hung for %v and is restarted: %s", hung, strings.Join(argv, " ")))
	// A daemon that is told to end leaves no Engine that is stopped and not started.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restartLimit)
	defer cancel()
	begin := time.Now()
	_, err := s.run.Run(ctx, xexec.Cmd{Argv: argv, Outlives: true})
	text, outcome := fmt.Sprintf("the Engine was restarted in %v", time.Since(begin).Round(100*time.Millisecond)), "did not help"
	if err != nil {
		text, outcome = "the Engine could not be restarted: "+err.Error(), "failed: "+err.Error()
	}
	s.note(ctx, "engine", "", "", text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restarting, s.outcome, s.engine.Recovery = false, outcome, ""
}
