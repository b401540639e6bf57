package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
)

// setRow is one set as docker set ls lists it.
type setRow struct {
	Name    string  `json:"name"`
	State   string  `json:"state"`
	Ready   int     `json:"ready"`
	Members int     `json:"containers"`
	CPU     float64 `json:"cpu"`
	MEM     uint64  `json:"memory"`
	IP      string  `json:"ip"`
	Network string  `json:"network"`

	Created time.Time `json:"created,omitzero"`
}

// rowOf tells of a set. Its STATE is
//   - running: all its containers are ready;
//   - degraded: some are not;
//   - empty: its infra runs, and it has no others;
//   - stopped: by docker set stop, or as one that is to stay so;
//   - broken: its infra is down though nobody stopped the set, or is gone.
//
// Nobody is ready without a running infra, whose network all others live in.
func rowOf(name string, o plan.Observed) setRow {
	r := setRow{Name: name, State: "broken"}
	inf := o.Infra
	members := map[string]bool{} // whether one of its containers is ready: one that is replaced has two
	for _, c := range o.Members {
		members[c.Member] = members[c.Member] || inf != nil && inf.State == plan.Running && c.Serves()
	}
	r.Members = len(members)
	for _, ready := range members {
		if ready {
			r.Ready++
		}
	}
	if inf == nil {
		return r
	}
	r.CPU, r.MEM, r.Created = float64(inf.Limits.CPU), uint64(inf.Limits.MEM), inf.Created
	var nets, ips []string
	for n, a := range inf.Nets {
		nets = append(nets, n)
		if a.IP != "" {
			ips = append(ips, a.IP)
		}
	}
	slices.Sort(nets)
	slices.Sort(ips)
	r.Network, r.IP = strings.Join(nets, ","), strings.Join(ips, ",")
	switch {
	case o.Stopped():
		r.State = "stopped"
	case inf.State != plan.Running:
	case r.Members == 0:
		r.State = "empty"
	case r.Ready == r.Members:
		r.State = "running"
	default:
		r.State = "degraded"
	}
	return r
}

func (s *sets) ls() *cobra.Command {
	l := &list[setRow]{
		id: func(r setRow) string { return r.Name }, named: true, empty: "no sets: docker set up FILE makes one",
		columns: []column[setRow]{
			{name: "Name", header: "NAME", value: func(r setRow) string { return r.Name }},
			{name: "State", header: "STATE", value: func(r setRow) string { return r.State }},
			{name: "Ready", header: "READY", value: func(r setRow) string { return fmt.Sprintf("%d/%d", r.Ready, r.Members) }},
			{name: "CPU", header: "CPU", value: func(r setRow) string { return cores(r.CPU) }},
			{name: "Memory", header: "MEMORY", value: func(r setRow) string { return memory(r.MEM) }},
			{name: "Network", header: "NETWORK", value: func(r setRow) string { return dash(r.Network) }},
			{name: "IP", header: "IP", value: func(r setRow) string { return dash(r.IP) }},
			{name: "Created", header: "CREATED", value: func(r setRow) string { return ago(r.Created) }},
		},
		filters: []filter[setRow]{
			byName(func(r setRow) string { return r.Name }),
			{key: "state", matches: func(r setRow, v string) bool { return r.State == v }},
		},
		values: map[string][]string{"state": {"running", "degraded", "empty", "stopped", "broken"}},
	}
	cmd := &cobra.Command{Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List sets", Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := l.check(); err != nil {
			return err
		}
		rows, err := s.rows(cmd.Context())
		if err != nil {
			return err
		}
		return l.print(cmd, rows)
	}
	l.flags(cmd)
	return cmd
}

func (s *sets) rows(ctx context.Context) ([]setRow, error) {
	m, err := s.manager(ctx, nil)
	if err != nil {
		return nil, err
	}
	names, err := m.Engine.Sets(ctx)
	if err != nil {
		return nil, err
	}
	rows, errs := make([]setRow, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	for i, n := range names {
		wg.Go(func() {
			o, err := m.Observe(ctx, n, nil)
			rows[i], errs[i] = rowOf(n, o), err
		})
	}
	wg.Wait()
	return rows, errors.Join(errs...)
}

func cores(n float64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

func memory(n uint64) string {
	if n == 0 {
		return "-"
	}
	return binary(n)
}

// observe is what there is of the set that a command names.
func (s *sets) observe(ctx context.Context, set string) (*setmgr.Manager, plan.Observed, error) {
	m, err := s.manager(ctx, nil)
	if err != nil {
		return nil, plan.Observed{}, err
	}
	o, err := m.Observe(ctx, set, nil)
	if err == nil && o.Infra == nil && len(o.Members) == 0 {
		_, err = plan.Spec(o, set)
	}
	return m, o, err
}

func (s *sets) ps() *cobra.Command {
	type c = plan.Container
	l := &list[c]{
		id: func(x c) string { return x.ID }, object: func(x c) any { return viewOf(x) },
		columns: []column[c]{
			{name: "Container", header: "CONTAINER", value: memberOf},
			{name: "Index", header: "INDEX", value: func(x c) string {
				if x.Member == "" {
					return "-"
				}
				return strconv.Itoa(x.Index)
			}},
			{name: "ID", header: "CONTAINER ID", value: func(x c) string { return x.ID }},
			{name: "Image", header: "IMAGE", value: func(x c) string { return x.Image }},
			{name: "Status", header: "STATUS", value: status},
			{name: "CPU", header: "CPU", value: func(x c) string { return cores(float64(x.Limits.CPU)) }},
			{name: "Memory", header: "MEMORY", value: func(x c) string { return memory(uint64(x.Limits.MEM)) }},
			{name: "Restarts", header: "RESTARTS", value: func(x c) string { return strconv.Itoa(x.Restarts) }},
			{name: "Revision", header: "REVISION", extra: true, value: func(x c) string { return strconv.Itoa(x.Rev) }},
			{name: "Name", header: "NAME", extra: true, value: func(x c) string { return x.Name }},
			{name: "PID", header: "PID", extra: true, value: func(x c) string { return strconv.Itoa(x.PID) }},
		},
	}
	cmd := &cobra.Command{Use: "ps [OPTIONS] SET", Short: "List the containers of a set", Args: exactly("SET"), ValidArgsFunction: s.oneSet}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.check(); err != nil {
			return err
		}
		_, o, err := s.observe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return l.print(cmd, all(o))
	}
	l.flags(cmd)
	return cmd
}

// all are the containers of a set, the infra first, then by index and name.
func all(o plan.Observed) []plan.Container {
	var out []plan.Container
	if o.Infra != nil {
		out = append(out, *o.Infra)
	}
	members := slices.Clone(o.Members)
	slices.SortFunc(members, func(a, b plan.Container) int {
		if a.Index != b.Index {
			return a.Index - b.Index
		}
		return strings.Compare(a.Name, b.Name)
	})
	return append(out, members...)
}

// memberOf is what users call a container.
func memberOf(c plan.Container) string { return cmp.Or(c.Member, "infra") }

func status(c plan.Container) string {
	out := string(c.State)
	if c.State == plan.Running {
		out = "up " + strings.TrimSuffix(ago(c.Started), " ago")
	}
	if c.State == plan.Exited {
		out = fmt.Sprintf("exited (%d)", c.ExitCode)
	}
	switch {
	case c.OOM:
		out += ", out of memory"
	case c.Stranded:
		out += ", cut off from the set's network: docker set heal"
	case c.Health != "":
		out += ", " + c.Health
	}
	return out
}

// chosen are the members that a command names, all without names.
func chosen(o plan.Observed, set string, names []string) (cs []plan.Container, width int, err error) {
	for _, c := range all(o) {
		if c.Member == "" || c.Name != render.MemberName(set, c.Member) {
			continue
		}
		if len(names) == 0 || slices.Contains(names, c.Member) {
			cs = append(cs, c)
			width = max(width, len(c.Member))
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(cs, func(c plan.Container) bool { return c.Member == n }) {
			known, err := plan.Spec(o, set)
			if o.Infra == nil {
				err = noInfra(set, o)
			}
			if err != nil {
				return nil, 0, err
			}
			return nil, 0, plan.NoMember(known, n)
		}
	}
	return cs, width, nil
}

func (s *sets) stats() *cobra.Command {
	var stream bool
	var format string
	cmd := &cobra.Command{Use: "stats [OPTIONS] SET", Short: "Show what the containers of a set use", Args: exactly("SET"), ValidArgsFunction: s.oneSet}
	cmd.Flags().BoolVar(&stream, "no-stream", false, "Only once")
	cmd.Flags().StringVar(&format, "format", "", "As docker stats has it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, o, err := s.observe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		argv := []string{"stats"}
		if stream {
			argv = append(argv, "--no-stream")
		}
		if format != "" {
			argv = append(argv, "--format", format)
		}
		for _, c := range all(o) {
			argv = append(argv, c.Name)
		}
		return s.docker(cmd, argv)
	}
	return cmd
}
