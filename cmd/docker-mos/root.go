package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/docker/cli/cli-plugins/socket"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/mosbridge/api"
)

// callLimit is how long a command waits for the daemon, and completeLimit how
// long a user who pressed Tab waits.
const (
	callLimit     = 60 * time.Second
	completeLimit = 2 * time.Second
)

// app is what all commands share.
type app struct {
	socket string // of mosbridge
}

func (a *app) client() *api.Client { return api.New(a.socket) }

// newMos is the command `docker mos`.
func newMos() *cobra.Command {
	a := &app{}
	cmd := group("mos", "Networks on Open vSwitch: see, change, examine")
	// A hook of our own keeps docker's frame from reading its configuration and
	// contexts, which these commands need not.
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithCancel(cmd.Context())
		cmd.SetContext(ctx)
		socket.ConnectAndWait(cancel) // ends this command when docker ends
		return nil
	}
	def := os.Getenv("MOS_BRIDGE_SOCKET")
	if def == "" {
		def = api.DefaultSocket
	}
	cmd.PersistentFlags().StringVar(&a.socket, "socket", def, "Admin socket of mosbridge, also MOS_BRIDGE_SOCKET")
	cmd.PersistentFlags().Lookup("socket").DefValue = api.DefaultSocket // for help that is the same everywhere
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%s", err.Error()) })

	net := group("net", "Networks of mosbridge")
	net.AddCommand(a.ls(), a.ps(), a.ports(), a.inspect(), a.trace(), a.doctor(), a.status(), a.set(), a.plan(), a.gc(), a.leases(), a.logLevel())
	cmd.AddCommand(net, a.audit(), a.version())
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
			u := usage("%q is no command of %s", args[0], cmd.CommandPath())
			if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
				return hinted(u, "did you mean "+strings.Join(s, ", ")+"?")
			}
			return hinted(u, cmd.CommandPath()+" --help lists the commands")
		},
	}
}

// exactly takes as many arguments as there are names, at least when the last
// name ends in dots.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		more := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...")
		switch {
		case len(args) == len(names), more && len(args) > len(names):
			return nil
		case len(names) == 0:
			return hinted(usage("%s takes no arguments, not %q", cmd.CommandPath(), args[0]), cmd.CommandPath()+" --help says more")
		}
		return hinted(usage("%s takes %s", cmd.CommandPath(), strings.Join(names, " ")), cmd.CommandPath()+" --help says more")
	}
}

// within runs f against the daemon with a limit of time, and explains its error.
func (a *app) within(cmd *cobra.Command, f func(context.Context, *api.Client) error) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), callLimit)
	defer cancel()
	return explain(a.socket, f(ctx, a.client()))
}
