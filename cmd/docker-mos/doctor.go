package main

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/mosbridge/api"
)

func (a *app) doctor() *cobra.Command {
	l := &list[api.Check]{columns: []column[api.Check]{
		{name: "Result", header: "RESULT", value: func(c api.Check) string {
			if c.OK {
				return "ok"
			}
			return "FAILED"
		}},
		{name: "Name", header: "CHECK", value: func(c api.Check) string { return c.Name }},
		{name: "Detail", header: "DETAIL", value: func(c api.Check) string { return dash(c.Detail) }},
		{name: "Hint", header: "HINT", extra: true, value: func(c api.Check) string { return dash(c.Hint) }},
	}}
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS]",
		Short: "Examine the host and say what is wrong",
		Long:  "The exit code is 1 when a check failed. When mosbridge does not answer, the host is examined without it.",
		Args:  exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := l.check(); err != nil {
			return err
		}
		var checks []api.Check
		err := a.within(cmd, func(ctx context.Context, c *api.Client) error {
			d, err := c.Doctor(ctx)
			checks = append([]api.Check{{Name: "mosbridge answers", OK: err == nil, Detail: a.socket}}, d.Checks...)
			return err
		})
		if errdefs.IsUnavailable(err) {
			checks = thisHost(xexec.Host{}).examine(cmd.Context(), err)
		} else if err != nil {
			return err
		}
		if err := l.print(cmd, checks); err != nil {
			return err
		}
		return verdict(cmd, checks)
	}
	l.flags(cmd)
	return cmd
}

// verdict prints what to do about failed checks.
func verdict(cmd *cobra.Command, checks []api.Check) error {
	var hints []string
	failed := false
	for _, c := range checks {
		if !c.OK {
			failed = true
			hints = append(hints, c.Hint)
		}
	}
	hint(cmd.ErrOrStderr(), hints...)
	if failed {
		return errBadNews
	}
	return nil
}
