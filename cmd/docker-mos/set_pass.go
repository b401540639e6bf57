package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mosdocker/mosdocker/setmgr/render"
)

// exec, attach and top are docker's own, for the container SET.MEMBER. Their options
// are declared as docker has them: only who knows which take a value can tell where
// they end and SET begins.

func (s *sets) exec() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "exec [OPTIONS] SET CONTAINER COMMAND [ARG...]",
		Short:   "Run a command in a container of a set",
		Example: "docker set exec -it web app sh",
		Args:    between(3, "SET", "CONTAINER", "COMMAND", "ARG..."),
	}
	f := cmd.Flags()
	f.BoolP("detach", "d", false, "Run the command in the background")
	f.String("detach-keys", "", "Keys that detach from the container")
	f.StringArrayP("env", "e", nil, "Set environment variables")
	f.StringArray("env-file", nil, "Read environment variables from a file")
	f.BoolP("interactive", "i", false, "Keep standard input open")
	f.Bool("privileged", false, "Give the command all rights")
	f.BoolP("tty", "t", false, "Give the command a terminal")
	f.StringP("user", "u", "", "Name or UID, and group: NAME|UID[:GROUP|GID]")
	f.StringP("workdir", "w", "", "Folder in the container that the command runs in")
	return s.pass(cmd)
}

func (s *sets) attach() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "attach [OPTIONS] SET CONTAINER",
		Short:   "Attach to a container of a set",
		Example: "docker set attach web app",
		Args:    exactly("SET", "CONTAINER"),
	}
	f := cmd.Flags()
	f.String("detach-keys", "", "Keys that detach from the container")
	f.Bool("no-stdin", false, "Do not attach standard input")
	f.Bool("sig-proxy", true, "Hand signals on to the container's process")
	cmd = s.pass(cmd)
	cmd.ValidArgsFunction = s.setThenMemberOnly
	return cmd
}

func (s *sets) top() *cobra.Command {
	return s.pass(&cobra.Command{
		Use:     "top SET CONTAINER [PS-OPTION...]",
		Short:   "Show the processes of a container of a set",
		Example: "docker set top web app\ndocker set top web app -o pid,args",
		Args:    between(2, "SET", "CONTAINER", "PS-OPTION..."),
	})
}

// pass lets a command run docker's command of the same name.
func (s *sets) pass(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().SetInterspersed(false) // what follows SET is not for us
	cmd.Long = cmd.Short + ", by docker " + cmd.Name() + "."
	cmd.ValidArgsFunction = s.setThenMember
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, o, err := s.observe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if _, _, err := chosen(o, args[0], args[1:2]); err != nil {
			return err
		}
		return s.docker(cmd, slices.Concat([]string{cmd.Name()}, given(cmd), []string{render.MemberName(args[0], args[1])}, args[2:]))
	}
	return cmd
}

// given are the options of a command as they were given, each in one word.
func given(cmd *cobra.Command) (out []string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if several, ok := f.Value.(pflag.SliceValue); ok {
			values = several.GetSlice()
		}
		for _, v := range values {
			out = append(out, "--"+f.Name+"="+v)
		}
	})
	return out
}

// docker runs the docker that called us, with the same global options, and ends as it
// does. It is not run in our place: who is told to end, by docker or by a signal, is us.
func (s *sets) docker(cmd *cobra.Command, args []string) error {
	bin := os.Getenv("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND")
	if bin == "" {
		bin = "docker"
	}
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	//nolint:gosec // it is the docker that called us, with what its user typed
	c := exec.CommandContext(ctx, bin, append(s.global(), args...)...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	deaf := args[0] == "stats"                                       // of docker 28
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // docker kills plugins that take their time
	if deaf {
		c.WaitDelay, c.SysProcAttr.Pdeathsig = time.Second, syscall.SIGKILL
	}
	runtime.LockOSThread() // whose end that signal tells
	defer runtime.UnlockOSThread()
	if err := c.Start(); err != nil {
		return err
	}
	// A terminal tells Ctrl-C to both.
	tty := terminal(os.Stdin)
	defer s.signals.to(func(sig os.Signal) {
		switch {
		case deaf:
			cancel(&signalError{sig})
		case sig != os.Interrupt || !tty:
			_ = c.Process.Signal(sig) // it may be gone
		}
	})()
	err := c.Wait()
	if ctx.Err() != nil {
		if told, ok := errors.AsType[*signalError](context.Cause(ctx)); ok {
			return exitError(codeOf(told.Signal))
		}
		return exitError(codeOf(os.Interrupt))
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return exitError(codeOf(w.Signal()))
	}
	return exitError(exit.ExitCode())
}

// global are the options that docker was given before the word set.
func (s *sets) global() []string {
	if i := slices.Index(os.Args, "set"); i > 0 {
		return slices.Clone(os.Args[1:i])
	}
	return nil
}
