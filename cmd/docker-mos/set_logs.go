package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/setmgr/docker"
)

func (s *sets) logs() *cobra.Command {
	var o docker.LogOptions
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] SET [CONTAINER...]",
		Short: "Show what the containers of a set write", Args: between(1, "SET", "CONTAINER..."), ValidArgsFunction: s.setThenMembers,
		Long: "Show what the containers of a set write. --follow goes on with containers that are restarted or replaced, until the set is stopped or removed.",
	}
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "Go on with what they write from now on")
	cmd.Flags().StringVarP(&o.Tail, "tail", "n", "all", "So many lines from the end")
	cmd.Flags().StringVar(&o.Since, "since", "", "What was written since then: a time, or 10m")
	cmd.Flags().StringVar(&o.Until, "until", "", "What was written until then")
	cmd.Flags().BoolVarP(&o.Timestamps, "timestamps", "t", false, "With times")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, obs, err := s.observe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		e, ok := m.Engine.(*docker.Engine)
		if !ok {
			return errors.New("the Engine has no logs")
		}
		cs, width, err := chosen(obs, args[0], args[1:])
		if err != nil {
			return err
		}
		var members []string
		for _, c := range cs {
			members = append(members, c.Member)
		}
		f := &docker.Follower{Engine: e, Set: args[0], Options: o}
		ctx, stop, err := f.Watch(cmd.Context(), members...)
		if err != nil {
			return err
		}
		defer stop()
		var mu sync.Mutex // one line after the other
		var wg sync.WaitGroup
		errs := make([]error, len(cs))
		for i, c := range cs {
			wg.Go(func() {
				prefix := fmt.Sprintf("%-*s | ", width, c.Member)
				if len(args) == 2 {
					prefix = "" // of one only, as docker logs has it
				}
				out := &prefixed{w: cmd.OutOrStdout(), prefix: prefix, mu: &mu}
				errOut := &prefixed{w: cmd.ErrOrStderr(), prefix: prefix, mu: &mu}
				defer out.Flush()
				defer errOut.Flush()
				errs[i] = f.Copy(ctx, c, out, errOut)
			})
		}
		wg.Wait()
		if cmd.Context().Err() != nil {
			return exitError(codeOf(os.Interrupt)) // docker was told to end
		}
		return once(errs)
	}
	return cmd
}

// once joins errors, each sentence once: many containers may err for one reason.
func once(errs []error) error {
	var out []error
	for _, err := range errs {
		if err != nil && !slices.ContainsFunc(out, func(e error) bool { return e.Error() == err.Error() }) {
			out = append(out, err)
		}
	}
	return errors.Join(out...)
}

// prefixed writes whole lines with a prefix.
type prefixed struct {
	w      io.Writer
	prefix string
	mu     *sync.Mutex
	rest   []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	if p.prefix == "" {
		return p.w.Write(b)
	}
	p.rest = append(p.rest, b...)
	for {
		i := slices.Index(p.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		if err := p.line(p.rest[:i+1]); err != nil {
			return len(b), err
		}
		p.rest = p.rest[i+1:]
	}
}

func (p *prefixed) line(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := fmt.Fprintf(p.w, "%s%s", p.prefix, b)
	return err
}

// Flush writes the end of a log that breaks off within a line.
func (p *prefixed) Flush() {
	if len(p.rest) > 0 {
		_ = p.line(append(p.rest, '\n')) // who reads may be gone
		p.rest = nil
	}
}
