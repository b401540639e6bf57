package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

func (a *app) audit() *cobra.Command {
	l := findingList("nothing is left over and nothing is missing")
	cmd := &cobra.Command{
		Use:   "audit [OPTIONS]",
		Short: "Look for what is left over or missing",
		Long: "Links, ports, flows, rules, endpoints and addresses, and volumes, mounts and loop devices are compared with what Docker and the daemons know. " +
			"The exit code is 1 when there is a finding.\n\nWhen a daemon does not answer, this host is searched for what it may have left: " +
			"links, ports of Open vSwitch and rules of mosbridge; mounts and loop devices of mos-lvm. Nothing is changed.",
		Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := l.check(); err != nil {
			return err
		}
		var all search
		for _, find := range []func(*cobra.Command) (search, error){a.bridge.audit, a.lvm.audit} {
			s, err := find(cmd)
			if err != nil {
				return err
			}
			all.found = append(all.found, s.found...)
			all.hints = append(all.hints, s.hints...)
			all.clean = append(all.clean, s.clean...)
			all.blind = all.blind || s.blind
		}
		if all.clean != nil {
			l.empty = strings.Join(all.clean, ", ")
		}
		return all.print(cmd, l)
	}
	l.flags(cmd)
	return cmd
}

// search is what an audit found.
type search struct {
	found []adminapi.Finding
	hints []string // for when there are findings
	clean []string // remarks for when there is none, in place of the usual one
	blind bool     // something could not be looked at
}

func (s search) print(cmd *cobra.Command, l *list[adminapi.Finding]) error {
	if err := l.print(cmd, s.found); err != nil {
		return err
	}
	var hints []string
	for _, f := range s.found {
		hints = append(hints, f.Hint)
	}
	hint(cmd.ErrOrStderr(), append(hints, s.hints...)...)
	if len(s.found) > 0 || s.blind {
		return errBadNews
	}
	return nil
}

// audit asks the daemon, or searches the host when it does not answer.
func (d *daemon[C]) audit(cmd *cobra.Command) (search, error) {
	var s search
	err := d.within(cmd, func(ctx context.Context, c C) error {
		r, err := c.Audit(ctx)
		s.found = r.Findings
		return err
	})
	if unreachable(err) {
		return d.auditWithout(cmd, err), nil
	}
	return s, err
}

// auditWithout searches the host when the daemon does not answer. What it finds
// may belong to running containers; a host without any of it is clean. Nothing
// is said of a daemon that was never here.
func (d *daemon[C]) auditWithout(cmd *cobra.Command, cause error) search {
	var s search
	var blind []error
	for _, look := range d.looks {
		found, err := look(cmd.Context())
		s.found = append(s.found, found...)
		if err != nil {
			blind = append(blind, err)
		}
	}
	if d.optional && !d.installed() && s.found == nil {
		return s
	}
	w := cmd.ErrOrStderr()
	remarkOn(w, cause)
	remark(w, "this host is searched without it; what is found may belong to running containers")
	if d.blind != "" {
		remark(w, "%s", d.blind)
	}
	for _, err := range blind {
		remark(w, "cannot look: %s", err)
	}
	s.blind = blind != nil
	s.clean = []string{d.clean}
	if s.found != nil {
		s.hints = []string{d.name + " repairs or removes these once it runs"}
	}
	return s
}
