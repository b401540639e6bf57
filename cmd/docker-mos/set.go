package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/local"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// sets is what the commands of docker set share.
type sets struct {
	cli     command.Cli
	signals signals
	later   bool // a volume's file system may grow at its next mount only
}

// newSet is the command `docker set`.
func newSet(cli command.Cli) *cobra.Command {
	s := &sets{cli: cli}
	cmd := group("set", "Sets: containers that share network, IPC and a volume, capped as a whole")
	of := &cluster{of: s}
	of.flag(cmd)
	cmd.PersistentPreRunE = func(c *cobra.Command, args []string) error {
		if err := of.local(c, args); err != nil {
			return helpedBy(c, err)
		}
		s.signals.listen()
		return plugin.PersistentPreRunE(c, args)
	}
	cmd.SetFlagErrorFunc(flagError)
	cmd.AddCommand(
		s.up(), s.plan(), s.diff(), s.validate(), s.schema(),
		s.ls(), s.ps(), s.inspect(), s.logs(), s.events(),
		s.stop(), s.start(), s.restart(), s.rm(), s.update(), s.history(), s.rollback(), s.resize(), s.heal(),
		s.exec(), s.attach(), of.orTop(s.top()), s.cp(), s.debug(), s.stats(), s.caps(),
		of.service(), of.host(), of.network(), of.explain(), of.operation(), of.quota(), of.rebalance(),
	)
	ownHelp(cmd)
	return cmd
}

func (s *sets) client() (*client.Client, error) {
	api, ok := s.cli.Client().(*client.Client)
	if !ok {
		return nil, errors.New("the client of docker is of a kind that is not known")
	}
	return api, nil
}

// manager is the set manager for the Engine of the current context.
func (s *sets) manager(ctx context.Context, said func(setmgr.Event)) (*setmgr.Manager, error) {
	api, err := s.client()
	if err != nil {
		return nil, err
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
		_, err := lvm.New(socket).Resize(ctx, lvm.ResizeRequest{Volume: volume, Size: size.String(), AtNextMount: s.later})
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

// offer asks an Engine while a user waits who pressed Tab; without an answer there is
// nothing to offer.
func (s *sets) offer(cmd *cobra.Command, ask func(context.Context, setmgr.Engine) []string) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeLimit)
	defer cancel()
	m, err := s.manager(ctx, nil)
	if err != nil {
		return nil
	}
	return ask(ctx, m.Engine)
}

func (s *sets) names(cmd *cobra.Command) []string {
	return s.offer(cmd, func(ctx context.Context, e setmgr.Engine) []string {
		names, _ := e.Sets(ctx)
		return names
	})
}

// members are those of the set that a command line names first, with an end to each.
func (s *sets) members(cmd *cobra.Command, args []string, end string) []string {
	return s.offer(cmd, func(ctx context.Context, e setmgr.Engine) (out []string) {
		o, _ := e.Observe(ctx, args[0], nil)
		for _, c := range o.Members {
			taken := slices.ContainsFunc(args[1:], func(a string) bool { return a == c.Member || strings.HasPrefix(a, c.Member+"=") })
			if !taken {
				out = append(out, c.Member+end)
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	})
}

// setThenMember offers a set, then one of its containers; files follow.
func (s *sets) setThenMember(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return s.setThenMembers(cmd, args, word)
}

// setThenMembers offers a set, then its containers.
func (s *sets) setThenMembers(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return s.names(cmd), cobra.ShellCompDirectiveNoFileComp
	}
	return s.members(cmd, args, ""), cobra.ShellCompDirectiveNoFileComp
}

// setThenMemberOnly offers a set, then one of its containers, and no more.
func (s *sets) setThenMemberOnly(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.setThenMembers(cmd, args, word)
}

// setThenImages offers a set, then its containers as CONTAINER=, of which the rest is
// for the user to say.
func (s *sets) setThenImages(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	switch {
	case len(args) == 0:
		return s.names(cmd), cobra.ShellCompDirectiveNoFileComp
	case strings.Contains(word, "="):
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.members(cmd, args, "="), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// setThenRevisions offers a set, then its containers, and behind CONTAINER= what each
// was.
func (s *sets) setThenRevisions(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	member, _, given := strings.Cut(word, "=")
	if len(args) == 0 || !given {
		return s.setThenMembers(cmd, args, word)
	}
	out := s.offer(cmd, func(ctx context.Context, e setmgr.Engine) (out []string) {
		o, _ := e.Observe(ctx, args[0], nil)
		for _, r := range plan.History(args[0], o) {
			if r.Member == member && !r.Current {
				out = append(out, fmt.Sprintf("%s=%d\t%s", member, r.Rev, r.Image()))
			}
		}
		return out
	})
	return out, cobra.ShellCompDirectiveNoFileComp
}

// someSets offers sets that are not named yet.
func (s *sets) someSets(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return slices.DeleteFunc(s.names(cmd), func(n string) bool { return slices.Contains(args, n) }), cobra.ShellCompDirectiveNoFileComp
}

// setFiles offers files of sets, as many as count, 0 is any number.
func setFiles(count int) completion {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if count > 0 && len(args) >= count {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"json", "yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	}
}

func (s *sets) oneSet(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.names(cmd), cobra.ShellCompDirectiveNoFileComp
}
