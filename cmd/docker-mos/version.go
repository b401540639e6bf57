package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/internal/version"
	"github.com/mosdocker/mosdocker/mosbridge/api"
)

// versions is what `version --format` sees.
type versions struct {
	Client    string      `json:"client"`
	Mosbridge *api.Status `json:"mosbridge"` // nil when it does not answer
}

func (a *app) version() *cobra.Command {
	var format string
	var daemon bool
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the versions of this command and of the daemon",
		Args:  exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&format, "format", "text", `"text", "json", or a Go template over the JSON's fields`)
	cmd.Flags().BoolVar(&daemon, "daemon", false, "Fail when the daemon does not answer")
	complete(cmd, "format", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		write := func(w io.Writer, vs []any) error { return printVersions(w, vs) }
		if format != "text" {
			var err error
			if write, err = inspector(format); err != nil {
				return err
			}
		}
		v := versions{Client: version.String()}
		err := a.within(cmd, func(ctx context.Context, c *api.Client) error {
			s, err := c.Status(ctx)
			if err == nil {
				v.Mosbridge = &s
			}
			return err
		})
		if werr := write(cmd.OutOrStdout(), []any{v}); werr != nil {
			return werr
		}
		if err != nil && !daemon {
			remark(cmd.ErrOrStderr(), "%s", err)
			return nil
		}
		return err
	}
	return cmd
}

func printVersions(w io.Writer, vs []any) error {
	for _, x := range vs {
		v, _ := x.(versions)
		daemon := "does not answer"
		if v.Mosbridge != nil {
			daemon = v.Mosbridge.Version
		}
		if _, err := fmt.Fprintf(w, "docker mos: %s\nmosbridge:  %s\n", v.Client, daemon); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) status() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status [OPTIONS]",
		Short: "Show how the daemon is and what it stands on",
		Args:  exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&format, "format", "text", `"text", "json", or a Go template over the JSON's fields`)
	complete(cmd, "format", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		write := func(w io.Writer, os []any) error {
			s, _ := os[0].(api.Status)
			return printStatus(w, s)
		}
		if format != "text" {
			var err error
			if write, err = inspector(format); err != nil {
				return err
			}
		}
		return a.within(cmd, func(ctx context.Context, c *api.Client) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), []any{s})
		})
	}
	return cmd
}

func printStatus(w io.Writer, s api.Status) error {
	lines := [][2]string{
		{"version", s.Version},
		{"started", ago(s.Started)},
		{"docker", cmp.Or(s.Engine.Error, s.Engine.Version, "not asked yet")},
		{"open vswitch", cmp.Or(s.Switch.Error, s.Switch.Version)},
		{"networks", strconv.Itoa(s.Networks)},
		{"containers", fmt.Sprintf("%d of %d up", s.Endpoint.Joined, s.Endpoint.All)},
		{"last repair", fmt.Sprintf("%s, %d steps in %.3f s", ago(s.Repair.At), s.Repair.Steps, s.Repair.Took)},
	}
	if s.Repair.Error != "" {
		lines = append(lines, [2]string{"repair failed", s.Repair.Error})
	}
	for _, b := range s.Switch.Bridges {
		lines = append(lines,
			[2]string{"bridge " + b.Name, fmt.Sprintf("%s datapath, %d flows of round %d", b.Datapath, b.Flows, b.Round)},
			[2]string{"", cmp.Or(b.Error, b.Reason)})
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "%-16s %s\n", l[0], l[1]); err != nil {
			return err
		}
	}
	return nil
}
