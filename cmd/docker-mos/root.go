package main

import (
	"context"
	"errors"
	"strings"

	"github.com/docker/cli/cli-plugins/socket"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/mosbridge/api"
)

// app is what all commands share: the daemons they ask.
type app struct {
	bridge *daemon[*api.Client]
	lvm    *daemon[*lvm.Client]
}

// network and volume have the commands of one daemon each.
type (
	network struct{ *daemon[*api.Client] }
	volume  struct{ *daemon[*lvm.Client] }
)

// newApp returns the daemons as they are on a host.
func newApp(h host) *app {
	return &app{
		bridge: &daemon[*api.Client]{
			address: address{name: "mosbridge", env: "MOS_BRIDGE_SOCKET", flag: "socket", usual: api.DefaultSocket}, dial: api.New, host: h,
			looks: []look{h.links, h.ports, h.bridges, h.rules}, tools: h.bridgeTools,
			clean: "nothing of mosbridge is on this host",
		},
		lvm: &daemon[*lvm.Client]{
			address: address{name: "mos-lvm", env: "MOS_LVM_ADMIN", flag: "volume-socket", usual: lvm.DefaultSocket}, dial: lvm.New, host: h, optional: true,
			looks: []look{h.mounts, h.loops}, tools: h.volumeTools,
			clean: "no volume of mos-lvm is mounted or attached on this host",
			blind: "only mounts and loop devices of mos-lvm are looked for: logical volumes, images and the recycle bin are not looked at",
		},
	}
}

// newMos is the command `docker mos` on this host.
func newMos() *cobra.Command { return newApp(thisHost()).command() }

func (a *app) command() *cobra.Command {
	cmd := group("mos", "Networks, volumes and policies of MosDocker: see, change, examine")
	// A hook of our own keeps docker's frame from reading its configuration and
	// contexts, which these commands need not.
	cmd.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		ctx, cancel := context.WithCancel(c.Context())
		c.SetContext(ctx)
		socket.ConnectAndWait(cancel) // ends this command when docker ends
		return passSocket(cmd, c)
	}
	a.bridge.socketFlag(cmd.PersistentFlags(), "socket")
	cmd.SetFlagErrorFunc(flagError)

	both := []*cobra.Command{a.audit(), doctor(a.bridge, a.lvm), a.version()}
	for _, c := range both {
		a.lvm.socketFlag(c.Flags(), a.lvm.flag)
	}
	cmd.AddCommand(both...)
	cmd.AddCommand(network{a.bridge}.group(), volume{a.lvm}.group(), newAuthz(), newHost(), newTop(), newCgroup())
	ownHelp(cmd)
	return cmd
}

// ownHelp lets what cannot be understood point to the help of the very command,
// here and in all commands below.
func ownHelp(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(c *cobra.Command, given []string) error { return helpedBy(c, args(c, given)) }
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(c *cobra.Command, given []string) error { return helpedBy(c, run(c, given)) }
	}
	for _, c := range cmd.Commands() {
		ownHelp(c)
	}
}

// helpedBy notes in an error of usage which command's help says more.
func helpedBy(cmd *cobra.Command, err error) error {
	if u, ok := errors.AsType[*usageError](err); ok && u.help == "" {
		u.help = cmd.CommandPath()
	}
	return err
}

// flagError says what is wrong with a flag, without the words of Go's parsers.
func flagError(cmd *cobra.Command, err error) error {
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return helpedBy(cmd, usage("%s", err))
	}
	must := "is not understood"
	switch wrong.GetFlag().Value.Type() {
	case "bool":
		must = "is neither true nor false"
	case "uint16":
		must = "is no number from 0 to 65535"
	}
	return helpedBy(cmd, usage("--%s %s %s", wrong.GetFlag().Name, wrong.GetValue(), must))
}

// passSocket lets --socket before a group's name mean the group's daemon, as it
// does after it.
func passSocket(mos, c *cobra.Command) error {
	given, own := mos.PersistentFlags().Lookup("socket"), c.Flags().Lookup("socket")
	if own == given || !given.Changed || own.Changed {
		return nil
	}
	return own.Value.Set(given.Value.String())
}

func (n network) group() *cobra.Command {
	cmd := group("net", "Networks of mosbridge")
	cmd.AddCommand(n.ls(), n.ps(), n.ports(), n.inspect(), n.trace(), doctor(n.daemon), n.status(), n.set(), n.plan(),
		n.gc("Clear away at once what Docker does not know any more"), n.leases(), n.logLevel())
	return cmd
}

// group is a command that only has commands below it.
func group(name, short string) *cobra.Command {
	return &cobra.Command{
		Use:                        name,
		Short:                      short,
		SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			if len(args[0]) < 4 { // else any word of three letters is meant
				cmd.SuggestionsMinimumDistance = 1
			}
			u := usage("%q is no command of %s", args[0], cmd.CommandPath())
			if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
				return hinted(u, "did you mean "+strings.Join(s, " or ")+"?")
			}
			return u
		},
	}
}

// exactly takes as many arguments as there are names, at least when the last
// name ends in dots.
func exactly(names ...string) cobra.PositionalArgs { return between(len(names), names...) }

// between takes at least so many of the named arguments, and any number when the
// last name ends in dots.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		more := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...")
		path, all := cmd.CommandPath(), strings.Join(names, " ")
		switch {
		case len(args) < least:
			return usage("%s needs %s", path, all)
		case len(args) <= len(names) || more:
			return nil
		case len(names) == 0:
			return usage("%s takes no arguments, not %q", path, args[0])
		}
		return usage("%s takes %s only: %q is too much", path, all, args[len(names)])
	}
}
