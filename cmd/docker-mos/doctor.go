package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// check is one question of the doctor of one daemon.
type check struct {
	Daemon string `json:"daemon"`
	adminapi.Check
}

// patient is a daemon that can be examined.
type patient interface {
	installed() bool
	examine(cmd *cobra.Command) ([]check, error)
	String() string
}

func (d *daemon[C]) String() string { return d.name }

// doctor examines daemons. Of several, those that were never installed are left
// out, unless that would be all.
func doctor(ps ...patient) *cobra.Command {
	l := checkList(len(ps) == 1)
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS]",
		Short: "Examine the host for " + ps[0].String() + " and say what is wrong",
		Long:  "The exit code is 1 when a check failed. When the daemon does not answer, the host is examined without it.",
		Args:  exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	if len(ps) > 1 {
		cmd.Short = "Examine the host for all daemons and say what is wrong"
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := l.check(); err != nil {
			return err
		}
		checks, absent, err := examine(cmd, ps)
		if err != nil {
			return err
		}
		for _, name := range absent {
			remark(cmd.ErrOrStderr(), "%s is not installed here", name)
		}
		if err := l.print(cmd, checks); err != nil {
			return err
		}
		return verdict(cmd, checks)
	}
	l.flags(cmd)
	return cmd
}

// examine asks the doctors of all daemons that are installed.
func examine(cmd *cobra.Command, ps []patient) (checks []check, absent []string, err error) {
	for _, p := range ps {
		if len(ps) > 1 && !p.installed() {
			absent = append(absent, p.String())
			continue
		}
		cs, err := p.examine(cmd)
		if err != nil {
			return nil, nil, err
		}
		checks = append(checks, cs...)
	}
	if len(absent) == len(ps) {
		return nil, nil, hinted(errors.New("no daemon of MosDocker is installed here"), "make install installs them on a host with systemd, make up starts them from the source tree")
	}
	return checks, absent, nil
}

func checkList(one bool) *list[check] {
	return &list[check]{columns: []column[check]{
		{name: "Result", header: "RESULT", value: func(c check) string {
			if c.OK {
				return "ok"
			}
			return "FAILED"
		}},
		{name: "Daemon", header: "DAEMON", extra: one, value: func(c check) string { return c.Daemon }},
		{name: "Name", header: "CHECK", value: func(c check) string { return c.Name }},
		{name: "Detail", header: "DETAIL", value: func(c check) string { return dash(c.Detail) }},
		{name: "Hint", header: "HINT", extra: true, value: func(c check) string { return dash(c.Hint) }},
	}}
}

// verdict prints what to do about failed checks.
func verdict(cmd *cobra.Command, cs []check) error {
	var hints []string
	failed := false
	for _, c := range cs {
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

// checks collects what is found out.
type checks struct {
	daemon string
	list   []check
}

// add notes a check, which failed when there is an error.
func (cs *checks) add(name, detail string, err error, hint string) {
	c := adminapi.Check{Name: name, OK: err == nil, Detail: detail}
	if err != nil {
		c.Detail, c.Hint = strings.TrimSpace(err.Error()), hint
	}
	cs.list = append(cs.list, check{cs.daemon, c})
}

// examine asks the daemon's doctor, or looks what may be wrong when it does not
// answer.
func (d *daemon[C]) examine(cmd *cobra.Command) ([]check, error) {
	out := &checks{daemon: d.name}
	err := d.within(cmd, func(ctx context.Context, c C) error {
		r, err := c.Doctor(ctx)
		out.add(d.name+" answers", d.at(), err, "")
		for _, c := range r.Checks {
			out.list = append(out.list, check{d.name, c})
		}
		return err
	})
	if unreachable(err) {
		return d.examineWithout(cmd.Context(), err), nil
	}
	return out.list, err
}

// examineWithout says what may be wrong when the daemon does not answer, for the
// reason given.
func (d *daemon[C]) examineWithout(ctx context.Context, cause error) []check {
	cs := &checks{daemon: d.name}
	var todo string
	if e, ok := errors.AsType[*hintedError](cause); ok {
		todo = strings.Join(e.hints, "; ")
	}
	cs.add(d.name+" answers", "", cause, todo)
	if _, err := os.Stat(filepath.Join(d.host.root, "/run/systemd/system")); err == nil {
		unit := d.name + ".service"
		out, err := d.host.tool(ctx, "systemctl", "is-active", unit)
		if err != nil {
			err = fmt.Errorf("it is %s", cmp.Or(strings.TrimSpace(out), "-"))
		}
		cs.add("unit "+unit+" runs", "active", err, "journalctl -u "+d.name+" says why it ended; make install installs it")
	}
	for _, s := range []struct{ name, path, hint string }{
		{"docker's plugin socket is there", d.pluginSocket(), d.name + " makes " + d.pluginSocket() + " when it starts; until then calls of docker that need " + d.name + " wait up to 15 s and fail"},
		{"docker's socket is there", "/run/docker.sock", "start docker: systemctl start docker, or make up in the source tree"},
	} {
		cs.add(s.name, s.path, d.host.has(s.path), s.hint)
	}
	d.tools(ctx, cs)
	return cs.list
}
