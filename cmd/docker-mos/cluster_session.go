package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/streams"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/session"
)

func (c *cluster) serviceLogs() *cobra.Command {
	in := session.Request{Verb: session.Logs}
	cmd := &cobra.Command{
		Use: "logs [OPTIONS] SERVICE [CONTAINER...]", Short: "Show what the containers of a service's sets write",
		Args: between(1, "SERVICE", "CONTAINER..."), ValidArgsFunction: c.services,
		Long: "Show what the containers of a service's sets write, from their hosts over the scheduler. --follow goes on with containers that are restarted or replaced, with sets that come or move to another host, and over mos-schedulers that end," +
			" until the service is removed. SERVICE may be one set.",
		Example: "docker set service logs -f web\ndocker set service logs --tail 20 web-1 app",
	}
	f := cmd.Flags()
	f.BoolVarP(&in.Follow, "follow", "f", false, "Go on with what they write from now on")
	f.StringVarP(&in.Tail, "tail", "n", "all", "So many lines from the end of each")
	f.StringVar(&in.Since, "since", "", "What was written since then: a time, or 10m")
	f.StringVar(&in.Until, "until", "", "What was written until then")
	f.BoolVarP(&in.Timestamps, "timestamps", "t", false, "With times")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if n, err := strconv.Atoi(in.Tail); in.Tail != "all" && (err != nil || n < 0) {
			return usage("--tail takes a number of lines, or all, not %q", in.Tail)
		}
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			if in.Follow && in.Until == "" {
				f := &follower{cmd: cmd, cl: cl, in: in, of: args[0], only: args[1:]}
				return interrupted(ctx, f.run(ctx))
			}
			sets, _, err := setsOf(ctx, cl, args[0])
			if err != nil {
				return err
			}
			all := containersOf(sets, args[1:])
			if len(all) == 0 {
				return nothingOf(args[0], args[1:])
			}
			return interrupted(ctx, readAll(ctx, cmd, cl, in, slices.SortedFunc(maps.Keys(all), logged.compare)))
		})
	}
	return cmd
}

func nothingOf(service string, containers []string) error {
	if len(containers) == 0 {
		return failure(errdefs.ErrNotFound, "%s has no container on any host: docker set explain says why", service)
	}
	return failure(errdefs.ErrNotFound, "%s has no container %s on any host", service, strings.Join(containers, ", "))
}

// setsOf are those of a service that are on hosts, or the one set of the name, at a revision.
func setsOf(ctx context.Context, cl *client.Client, name string) ([]*api.SetInstance, int64, error) {
	if _, err := client.Get[api.Service](ctx, cl, name); errdefs.IsNotFound(err) {
		one, setErr := client.Get[api.SetInstance](ctx, cl, name)
		switch {
		case errdefs.IsNotFound(setErr):
			return nil, 0, err
		case setErr != nil:
			return nil, 0, setErr
		}
		// Its own revision may be too old to be watched from.
		page, listErr := client.List[api.SetInstance](ctx, cl, client.Filter{Service: one.Spec.Service})
		if listErr != nil {
			return nil, 0, listErr
		}
		if !slices.ContainsFunc(page.Items, func(s *api.SetInstance) bool { return s.Name == name }) {
			return nil, 0, err
		}
		return slices.DeleteFunc(page.Items, func(s *api.SetInstance) bool { return s.Name != name || nowhere(s) }), page.Revision, nil
	} else if err != nil {
		return nil, 0, err
	}
	page, err := client.List[api.SetInstance](ctx, cl, client.Filter{Service: name})
	return slices.DeleteFunc(page.Items, nowhere), page.Revision, err
}

func nowhere(s *api.SetInstance) bool { return s.Spec.Host == "" }

// logged is a container whose log is read.
type logged struct{ set, container string }

func (s logged) String() string { return s.set + "." + s.container }

func (s logged) compare(t logged) int {
	return cmp.Or(strings.Compare(s.set, t.set), strings.Compare(s.container, t.container))
}

// readAll reads logs side by side, line by line.
func readAll(ctx context.Context, cmd *cobra.Command, cl *client.Client, in session.Request, all []logged) error {
	width := 0
	for _, s := range all {
		width = max(width, len(s.String()))
	}
	var mu sync.Mutex // one line after the other
	var work sync.WaitGroup
	errs := make([]error, len(all))
	for i, s := range all {
		work.Go(func() {
			prefix := fmt.Sprintf("%-*s | ", width, s)
			if len(all) == 1 {
				prefix = ""
			}
			out := &prefixed{w: cmd.OutOrStdout(), prefix: prefix, mu: &mu}
			errOut := &prefixed{w: cmd.ErrOrStderr(), prefix: prefix, mu: &mu}
			defer out.Flush()
			defer errOut.Flush()
			one := in
			one.Container = s.container
			conn, err := cl.Session(ctx, s.set, one)
			if err == nil {
				_, err = conn.Copy(out, errOut)
				_ = conn.Close()
			}
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", s, err)
			}
		})
	}
	work.Wait()
	return once(errs)
}

// interrupted is how a session ends that its user ended: without a word.
func interrupted(ctx context.Context, err error) error {
	if told, ok := errors.AsType[*signalError](context.Cause(ctx)); ok {
		return exitError(codeOf(told.Signal))
	}
	return err
}

// takeContainer takes the name of one off arguments: it may be left out of a set that has only
// one.
func takeContainer(s *api.SetInstance, args []string) (name string, rest []string, err error) {
	var names []string
	for _, one := range s.Spec.Set.Containers {
		if len(args) > 0 && one.Name == args[0] {
			return one.Name, args[1:], nil
		}
		names = append(names, one.Name)
	}
	if len(args) > 0 && args[0] == "infra" { // which would be taken for a command
		return "", nil, usage("the infra container of set %s is not reached over the scheduler: name one of %s", s.Name, strings.Join(names, ", "))
	}
	if len(names) == 1 {
		return names[0], args, nil
	}
	if len(args) > 0 {
		return "", nil, usage("set %s has no container %s: it has %s", s.Name, args[0], strings.Join(names, ", "))
	}
	return "", nil, usage("name a container of set %s: %s", s.Name, strings.Join(names, ", "))
}

func (c *cluster) serviceTop() *cobra.Command {
	cmd := &cobra.Command{
		Use: "top SET [CONTAINER] [PS-OPTION...]", Short: "Show the processes of a container of a service's set",
		Args: between(1, "SET", "ARGUMENT..."), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "docker set service top web-1\ndocker set service top web-1 app -o pid,args",
	}
	cmd.Flags().SetInterspersed(false) // what follows SET is not for us
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			_, err := converse(ctx, cmd, cl, args, session.Request{Verb: session.Top})
			return interrupted(ctx, err)
		})
	}
	return cmd
}

func (c *cluster) serviceExec() *cobra.Command {
	in := session.Request{Verb: session.Exec}
	cmd := &cobra.Command{
		Use: "exec [OPTIONS] SET [CONTAINER] COMMAND [ARG...]", Short: "Run a command in a container of a service's set",
		Args: between(2, "SET", "ARGUMENT..."), ValidArgsFunction: cobra.NoFileCompletions,
		Long:    "Run a command in a container of a service's set, on its host, over the scheduler. It ends with the command's exit code; who ends it by Ctrl-C ends the command. CONTAINER may be left out where the set has one only.",
		Example: "docker set service exec web-1 app cat /etc/hosts\ndocker set service exec -it web-1 sh",
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows SET is not for us
	f.BoolVarP(&in.Stdin, "interactive", "i", false, "Hand standard input on")
	f.BoolVarP(&in.TTY, "tty", "t", false, "Give the command a terminal")
	f.StringArrayVarP(&in.Env, "env", "e", nil, "KEY=VALUE of the command's environment")
	f.StringVarP(&in.User, "user", "u", "", "User of the command: NAME|UID[:GROUP|GID]")
	f.StringVarP(&in.Dir, "workdir", "w", "", "Folder in the container that the command runs in")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if in.TTY && in.Stdin && !terminal(os.Stdin) {
			return usage("--tty with --interactive needs a terminal at standard input")
		}
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			code, err := converse(ctx, cmd, cl, args, in)
			if err = interrupted(ctx, err); err == nil && code != 0 {
				err = exitError(code)
			}
			return err
		})
	}
	return cmd
}

// converse has a session of which one container is the other end.
func converse(ctx context.Context, cmd *cobra.Command, cl *client.Client, args []string, in session.Request) (code int, err error) {
	set, err := client.Get[api.SetInstance](ctx, cl, args[0])
	if errdefs.IsNotFound(err) {
		return 0, cmp.Or(isService(ctx, cl, args[0]), err)
	}
	if err != nil {
		return 0, err
	}
	if in.Container, in.Command, err = takeContainer(set, args[1:]); err != nil {
		return 0, err
	}
	if in.Verb == session.Exec && len(in.Command) == 0 {
		return 0, usage("name a command to run in container %s", in.Container)
	}
	screen := streams.NewOut(os.Stdout)
	if in.TTY {
		in.Rows, in.Columns = sizeOf(screen)
	}
	conn, err := cl.Session(ctx, set.Name, in)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if in.TTY {
		defer resized(conn, screen)()
	}
	if in.Stdin {
		if in.TTY {
			keys := streams.NewIn(os.Stdin)
			if err := keys.SetRawTerminal(); err != nil {
				return 0, err
			}
			defer keys.RestoreTerminal()
		}
		go func() { // as long as the program, if nobody types
			_, err := io.Copy(conn.To(session.Stdin), os.Stdin)
			if err == nil {
				_ = conn.Write(session.StdinEnd, nil) // the command may have ended
			}
		}()
	}
	return conn.Copy(cmd.OutOrStdout(), cmd.ErrOrStderr())
}

// isService is an error that names the sets of a service which was taken for one; nil if there is
// none of the name.
func isService(ctx context.Context, cl *client.Client, name string) error {
	if _, err := client.Get[api.Service](ctx, cl, name); err != nil {
		return nil //nolint:nilerr // that there is no such set is told
	}
	page, err := client.List[api.SetInstance](ctx, cl, client.Filter{Service: name})
	if err != nil || len(page.Items) == 0 {
		return usage("%s is a service, and has no set yet", name)
	}
	var names []string
	for _, s := range page.Items {
		names = append(names, s.Name)
	}
	return usage("%s is a service: name one of its sets, %s", name, strings.Join(names, ", "))
}

// sizeOf is that of a terminal, 0 if it is none.
func sizeOf(screen *streams.Out) (rows, columns uint16) {
	h, w := screen.GetTtySize()
	return uint16(h), uint16(w)
}

// resized tells the other end what becomes of our terminal, until stop is called.
func resized(conn *session.Conn, screen *streams.Out) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-changed:
				_ = conn.Size(sizeOf(screen)) // the command may have ended
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(changed); close(done) }
}
