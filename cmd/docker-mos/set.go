package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/local"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// sets is what the commands of docker set share.
type sets struct{ cli command.Cli }

// newSet is the command `docker set`.
func newSet(cli command.Cli) *cobra.Command {
	s := &sets{cli}
	cmd := group("set", "Sets: containers that share network, IPC and a volume, capped as a whole")
	cmd.PersistentPreRunE = func(c *cobra.Command, args []string) error {
		return plugin.PersistentPreRunE(c, args)
	}
	cmd.SetFlagErrorFunc(flagError)
	cmd.AddCommand(
		s.up(), s.plan(), s.diff(), s.validate(), s.schema(),
		s.ls(), s.ps(), s.inspect(), s.logs(), s.events(),
		s.stop(), s.start(), s.restart(), s.rm(), s.update(), s.history(), s.rollback(), s.resize(), s.heal(),
		s.pass("exec", "Run a command in a container of a set", "docker set exec -it web app sh"),
		s.pass("attach", "Attach to a container of a set", "docker set attach web app"),
		s.pass("top", "Show the processes of a container of a set", "docker set top web app"),
		s.cp(), s.debug(), s.stats(), s.caps(),
	)
	ownHelp(cmd)
	return cmd
}

// manager is the set manager for the Engine of the current context.
func (s *sets) manager(ctx context.Context, said func(setmgr.Event)) (*setmgr.Manager, error) {
	api, ok := s.cli.Client().(*client.Client)
	if !ok {
		return nil, errors.New("the client of docker is of a kind that is not known")
	}
	e := docker.New(api)
	m, err := local.Manager(ctx, e)
	if err != nil {
		return nil, err
	}
	m.Said = said
	m.Auth = func(image string) (string, error) {
		return command.RetrieveAuthTokenFromImage(s.cli.ConfigFile(), image)
	}
	if !e.Local {
		return m, nil
	}
	m.Unkept = unkept(ctx)
	m.Grow = func(ctx context.Context, volume string, size spec.Bytes) error {
		socket := lvm.DefaultSocket
		if other := os.Getenv("MOS_LVM_ADMIN"); other != "" {
			socket = other
		}
		_, err := lvm.New(socket).Resize(ctx, lvm.ResizeRequest{Volume: volume, Size: size.String()})
		return err
	}
	return m, nil
}

// unkept is why no mosd keeps the sets of this host.
func unkept(ctx context.Context) string {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", mosdSocket())
	if err != nil {
		return fmt.Sprintf("mosd does that, and does not run on this host (%v): systemctl enable --now mosd starts it", err)
	}
	_ = c.Close()
	return ""
}

// pass hands a command on to docker's own, for the container SET.MEMBER.
func (s *sets) pass(verb, short, example string) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " [OPTIONS] SET CONTAINER [ARG...]",
		Short:   short,
		Long:    short + ". Options are those of docker " + verb + ".",
		Example: example, DisableFlagParsing: true,
		ValidArgsFunction: s.setThenMember,
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "--help") && (len(args) == 1 || strings.HasPrefix(args[0], "-")) {
				return cmd.Help()
			}
			args, err := memberArgs(cmd, args)
			if err != nil {
				return err
			}
			return s.docker(append([]string{verb}, args...))
		},
	}
}

// memberArgs turns "SET CONTAINER" behind the options into the name of one container.
func memberArgs(cmd *cobra.Command, args []string) ([]string, error) {
	takesValue := []string{"-e", "--env", "-u", "--user", "-w", "--workdir", "--env-file", "--detach-keys"}
	i := 0
	for i < len(args) && strings.HasPrefix(args[i], "-") {
		if slices.Contains(takesValue, args[i]) {
			i++
		}
		i++
	}
	if i+1 >= len(args) {
		return nil, usage("%s needs SET CONTAINER", cmd.CommandPath())
	}
	out := append(slices.Clone(args[:i]), args[i]+"."+args[i+1])
	return append(out, args[i+2:]...), nil
}

// docker runs the docker that called us, with the same global options, in our place.
func (s *sets) docker(args []string) error {
	bin := os.Getenv("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND")
	if bin == "" {
		bin = "docker"
	}
	path, err := exec.LookPath(bin)
	if err != nil {
		return err
	}
	//nolint:gosec // it is the docker that called us, with what its user typed
	return syscall.Exec(path, append(append([]string{"docker"}, s.global()...), args...), os.Environ())
}

// global are the options that docker was given before the word set.
func (s *sets) global() []string {
	if i := slices.Index(os.Args, "set"); i > 0 {
		return os.Args[1:i]
	}
	return nil
}

func (s *sets) names(cmd *cobra.Command) []string {
	m, err := s.manager(cmd.Context(), nil)
	if err != nil {
		return nil
	}
	names, _ := m.Engine.Sets(cmd.Context()) // nothing to offer
	return names
}

func (s *sets) setThenMember(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return s.names(cmd), cobra.ShellCompDirectiveNoFileComp
	case 1:
		m, err := s.manager(cmd.Context(), nil)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		o, _ := m.Engine.Observe(cmd.Context(), args[0], nil) // nothing to offer
		var out []string
		for _, c := range o.Members {
			out = append(out, c.Member)
		}
		slices.Sort(out)
		return slices.Compact(out), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

func (s *sets) oneSet(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.names(cmd), cobra.ShellCompDirectiveNoFileComp
}
