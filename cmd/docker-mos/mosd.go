package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// mosd has the commands of the host daemon.
type mosd struct{ socket string }

// newHost is the command `docker mos host`.
func newHost() *cobra.Command {
	m := &mosd{}
	cmd := group("host", "The host daemon mosd: how it keeps the sets of this host")
	cmd.PersistentFlags().StringVar(&m.socket, "mosd-socket", mosdSocket(), "Socket of mosd")
	cmd.AddCommand(m.status(), m.events(), m.disk(), m.cluster(), m.join(), m.leave(), m.logLevel())
	return cmd
}

// mosdSocket is where mosd is asked unless a flag says.
func mosdSocket() string { return cmp.Or(os.Getenv("MOS_MOSD_SOCKET"), api.DefaultSocket) }

func (m *mosd) status() *cobra.Command {
	type r = api.Set
	l := &list[r]{
		id: func(x r) string { return x.Name }, named: true, empty: "no sets: docker set up FILE makes one",
		columns: []column[r]{
			{name: "Set", header: "SET", value: func(x r) string { return x.Name }},
			{name: "State", header: "STATE", value: func(x r) string { return x.State }},
			{name: "Since", header: "SINCE", value: func(x r) string { return ago(x.Since) }},
			{name: "Heals", header: "HEALS", value: func(x r) string { return strconv.Itoa(x.Heals) }},
			{name: "Restarts", header: "RESTARTS", value: func(x r) string { return strconv.Itoa(x.Restarts) }},
			{name: "Next", header: "NEXT TRY", value: func(x r) string {
				if x.Next.IsZero() {
					return "-"
				}
				return "in " + time.Until(x.Next).Round(time.Second).String()
			}},
			{name: "Detail", header: "DETAIL", value: func(x r) string { return dash(strings.ReplaceAll(x.Detail, "\n", " ")) }},
			{name: "Failures", header: "FAILURES", extra: true, value: func(x r) string { return strconv.Itoa(x.Failures) }},
			{name: "Declared", header: "DECLARED", extra: true, value: func(x r) string { return dash(x.Declared) }},
		},
		filters: []filter[r]{
			byName(func(x r) string { return x.Name }),
			{key: "state", matches: func(x r, v string) bool { return x.State == v }},
		},
	}
	cmd := &cobra.Command{
		Use: "status [OPTIONS]", Short: "Show how the Engine and the sets of this host do",
		Long: "What is wrong with the Engine or with files that declare sets is said on standard error, and makes the exit code 1.",
		Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := l.check(); err != nil {
			return err
		}
		st, err := api.New(m.socket).Status(cmd.Context())
		if err != nil {
			return err
		}
		bad := false
		say := func(text string) {
			bad = true
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), text) // the exit code tells it, too
		}
		if st.Engine.State != api.Well {
			say(cmp.Or(st.Engine.Error, "the Engine is "+st.Engine.State) + " (since " + ago(st.Engine.Since) + ")")
			if st.Engine.Recovery != "" {
				say(st.Engine.Recovery)
			}
		}
		for _, id := range st.Engine.Hung {
			say(fmt.Sprintf("container %.12s hangs: its shim does not answer, or the Engine not about it", id))
		}
		for _, path := range slices.Sorted(maps.Keys(st.Faults)) {
			say(path + " is not taken over: " + st.Faults[path])
		}
		if err := l.print(cmd, st.Sets); err != nil {
			return err
		}
		if bad {
			return errBadNews
		}
		return nil
	}
	l.flags(cmd)
	return cmd
}

func (m *mosd) logLevel() *cobra.Command {
	return logLevel("mosd", func(cmd *cobra.Command, l adminapi.LogLevel) error {
		return api.New(m.socket).SetLogLevel(cmd.Context(), l)
	})
}

func (m *mosd) events() *cobra.Command {
	type r = api.Event
	l := &list[r]{
		empty: "mosd has done nothing yet",
		columns: []column[r]{
			{name: "At", header: "TIME", value: func(x r) string { return x.At.Local().Format(time.DateTime) }},
			{name: "Kind", header: "KIND", value: func(x r) string { return x.Kind }},
			{name: "Set", header: "SET", value: func(x r) string { return dash(x.Set) }},
			{name: "Member", header: "CONTAINER", value: func(x r) string { return dash(x.Member) }},
			{name: "Text", header: "WHAT", value: func(x r) string { return strings.ReplaceAll(x.Text, "\n", " ") }},
			{name: "Seq", header: "NUMBER", extra: true, value: func(x r) string { return strconv.FormatUint(x.Seq, 10) }},
		},
	}
	var after uint64
	cmd := &cobra.Command{
		Use: "events [OPTIONS] [SET]", Short: "Show what mosd did and saw since it runs, the last 1000 things",
		Args: between(0, "SET"), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "Only those with a higher number")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.check(); err != nil {
			return err
		}
		for _, set := range args {
			l.empty = "mosd has done nothing for set " + set + " since it runs"
		}
		all, err := api.New(m.socket).Events(cmd.Context(), after, strings.Join(args, ""))
		if err != nil {
			return err
		}
		return l.print(cmd, all)
	}
	l.flags(cmd)
	return cmd
}
