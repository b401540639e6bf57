package main

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/mosbridge/api"
)

func (a *app) audit() *cobra.Command {
	l := findingList("nothing is left over and nothing is missing")
	cmd := &cobra.Command{
		Use:   "audit [OPTIONS]",
		Short: "Look for what is left over or missing",
		Long: "Links, ports, flows, rules, endpoints and addresses are compared with what Docker and the daemon know. " +
			"The exit code is 1 when there is a finding.\n\nWhen mosbridge does not answer, this host is searched for what it may have left: links, ports of Open vSwitch, and rules. Nothing is changed.",
		Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := l.check(); err != nil {
			return err
		}
		var found []api.Finding
		err := a.within(cmd, func(ctx context.Context, c *api.Client) error {
			r, err := c.Audit(ctx)
			found = r.Findings
			return err
		})
		if errdefs.IsUnavailable(err) {
			return a.auditWithout(cmd, l, err)
		}
		if err != nil {
			return err
		}
		return printFindings(cmd, l, found)
	}
	l.flags(cmd)
	return cmd
}

// auditWithout searches the host when the daemon does not answer. What it finds
// may belong to running containers; a host without any of it is clean.
func (a *app) auditWithout(cmd *cobra.Command, l *list[api.Finding], cause error) error {
	remark(cmd.ErrOrStderr(), "%s", cause)
	remark(cmd.ErrOrStderr(), "this host is searched without it; what is found may belong to running containers")
	found, blind := thisHost(xexec.Host{}).search(cmd.Context())
	for _, err := range blind {
		remark(cmd.ErrOrStderr(), "cannot look: %s", err)
	}
	l.empty = "nothing of mosbridge is on this host"
	if err := printFindings(cmd, l, found); err != nil {
		hint(cmd.ErrOrStderr(), howToStart+": it repairs or removes these")
		return err
	}
	if blind != nil {
		return errBadNews
	}
	return nil
}

func printFindings(cmd *cobra.Command, l *list[api.Finding], found []api.Finding) error {
	if err := l.print(cmd, found); err != nil {
		return err
	}
	var hints []string
	for _, f := range found {
		hints = append(hints, f.Hint)
	}
	hint(cmd.ErrOrStderr(), hints...)
	if len(found) > 0 {
		return errBadNews
	}
	return nil
}
