package main

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// Commands that all daemons have, and what their commands are made of.

// listCommand is a command that prints one list of a daemon.
func listCommand[C admin, T any](d *daemon[C], l *list[T], use, short string, ask func(C, context.Context) ([]T, error)) *cobra.Command {
	cmd := &cobra.Command{Use: use + " [OPTIONS]", Short: short, Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := l.check(); err != nil {
			return err
		}
		return d.within(cmd, func(ctx context.Context, c C) error {
			objects, err := ask(c, ctx)
			if err != nil {
				return err
			}
			return l.print(cmd, objects)
		})
	}
	l.flags(cmd)
	return cmd
}

// statusCommand is a command that prints how a daemon is.
func statusCommand[C admin, S any](d *daemon[C], status func(C, context.Context) (S, error), text func(io.Writer, S) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [OPTIONS]",
		Short: "Show how " + d.name + " is and what it stands on",
		Args:  exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	format := textFormat(cmd, text)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		write, err := format()
		if err != nil {
			return err
		}
		s, err := ask(d, cmd, status)
		if err != nil {
			return err
		}
		return write(cmd.OutOrStdout(), *s)
	}
	return cmd
}

// ask is what a daemon answers, nil when it errs.
func ask[C admin, T any](d *daemon[C], cmd *cobra.Command, f func(C, context.Context) (T, error)) (*T, error) {
	var out *T
	err := d.within(cmd, func(ctx context.Context, c C) error {
		t, err := f(c, ctx)
		if err == nil {
			out = &t
		}
		return err
	})
	return out, err
}

// textFormat adds the flag --format of a command that prints one object as text
// unless it is told otherwise. What it returns reads the flag.
func textFormat[T any](cmd *cobra.Command, text func(io.Writer, T) error) func() (func(io.Writer, T) error, error) {
	var format string
	formatFlag(cmd, &format, "text", `"text", "json", or a Go template over the JSON's fields`, "text")
	return func() (func(io.Writer, T) error, error) {
		switch format {
		case "text":
			return text, nil
		case "json":
			return func(w io.Writer, t T) error {
				enc := json.NewEncoder(w)
				enc.SetEscapeHTML(false)
				return enc.Encode(t)
			}, nil
		}
		write, err := inspector(format)
		return func(w io.Writer, t T) error { return write(w, []any{t}) }, err
	}
}

func findingList(empty string) *list[adminapi.Finding] {
	type f = adminapi.Finding
	return &list[f]{
		empty: empty,
		columns: []column[f]{
			{name: "Kind", header: "KIND", value: func(x f) string { return x.Kind }},
			{name: "Object", header: "OBJECT", wholeIf: func(x f) bool { return x.Kind == "volume" }, value: func(x f) string { return x.Object }},
			{name: "Detail", header: "DETAIL", value: func(x f) string { return x.Detail }},
			{name: "Hint", header: "HINT", extra: true, value: func(x f) string { return dash(x.Hint) }},
		},
	}
}

func (d *daemon[C]) gc(short string) *cobra.Command {
	var dry bool
	cmd := listCommand(d, findingList("nothing to clear away"), "gc", short, func(c C, ctx context.Context) ([]adminapi.Finding, error) {
		g, err := c.GC(ctx, adminapi.GCRequest{DryRun: dry})
		return g.Objects, err
	})
	cmd.Flags().BoolVar(&dry, "dry-run", false, "List what would be cleared away, and do nothing")
	return cmd
}

func (d *daemon[C]) logLevel() *cobra.Command {
	return logLevel(d.name, func(cmd *cobra.Command, l adminapi.LogLevel) error {
		return d.within(cmd, func(ctx context.Context, c C) error { return c.SetLogLevel(ctx, l) })
	})
}

// logLevel is the command that changes what a daemon logs.
func logLevel(daemon string, set func(*cobra.Command, adminapi.LogLevel) error) *cobra.Command {
	levels := []string{"debug", "info", "warn", "error"}
	return &cobra.Command{
		Use:               "loglevel debug|info|warn|error",
		Aliases:           []string{"log-level"},
		Short:             "Change what " + daemon + " logs, until it restarts",
		Args:              exactly("debug|info|warn|error"),
		ValidArgsFunction: cobra.FixedCompletions(levels, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(levels, args[0]) {
				return usage("%s is none of %s", args[0], strings.Join(levels, ", "))
			}
			return set(cmd, adminapi.LogLevel{Level: args[0]})
		},
	}
}
