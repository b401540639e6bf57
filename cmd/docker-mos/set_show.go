package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
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
	Created string  `json:"created"`
}

func rowOf(name string, o plan.Observed) setRow {
	r := setRow{Name: name, State: "broken", Members: len(o.Members)}
	for _, c := range o.Members {
		own, _ := spec.DecodeContainer(c.Spec) // of another release, maybe
		done := c.State == plan.Exited && c.ExitCode == 0 && c.Restart == "no" && own.Options.Backoff == nil
		if done || c.State == plan.Running && !c.Stranded && (c.Health == "" || c.Health == "healthy") {
			r.Ready++
		}
	}
	inf := o.Infra
	if inf == nil {
		return r
	}
	r.CPU, r.MEM, r.Created = float64(inf.Limits.CPU), uint64(inf.Limits.MEM), ago(inf.Created)
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
	case inf.State != plan.Running:
		r.State = "stopped"
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
			{name: "Created", header: "CREATED", value: func(r setRow) string { return r.Created }},
		},
		filters: []filter[setRow]{
			{key: "name", matches: func(r setRow, v string) bool { return strings.Contains(r.Name, v) }},
			{key: "state", matches: func(r setRow, v string) bool { return r.State == v }},
		},
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
		id: func(x c) string { return x.ID },
		columns: []column[c]{
			{name: "Container", header: "CONTAINER", value: func(x c) string {
				if x.Member == "" {
					return "infra"
				}
				return x.Member
			}},
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

// setView is what docker set inspect prints.
type setView struct {
	Spec       any              `json:"spec"`
	State      setRow           `json:"state"`
	Cap        plan.Limits      `json:"cap"`
	CapNote    string           `json:"capNote,omitempty"`
	Parent     string           `json:"cgroupParent"`
	Containers []plan.Container `json:"containers"`
}

func (s *sets) inspect() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "inspect [OPTIONS] SET", Short: "Print all that is known of a set", Args: exactly("SET"), ValidArgsFunction: s.oneSet}
	cmd.Flags().StringVarP(&format, "format", "f", "json", `"json", or a Go template over the JSON's fields`)
	complete(cmd, "format", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := inspector(format)
		if err != nil {
			return err
		}
		_, o, err := s.observe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		v := setView{State: rowOf(args[0], o), Cap: o.Cap, CapNote: o.CanCap, Parent: render.Parent(o.Facts, args[0]), Containers: all(o)}
		if set, err := plan.Spec(o, args[0]); err == nil {
			data, err := spec.Marshal(&set)
			if err != nil {
				return err
			}
			v.Spec = json.RawMessage(data)
		}
		return write(cmd.OutOrStdout(), []any{v})
	}
	return cmd
}

func (s *sets) logs() *cobra.Command {
	var o docker.LogOptions
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] SET [CONTAINER...]",
		Short: "Show what the containers of a set write", Args: between(1, "SET", "CONTAINER..."), ValidArgsFunction: s.setThenMember,
	}
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "Go on with what they write from now on")
	cmd.Flags().StringVarP(&o.Tail, "tail", "n", "all", "So many lines from the end")
	cmd.Flags().StringVar(&o.Since, "since", "", "What was written since then: a time, or 10m")
	cmd.Flags().StringVar(&o.Until, "until", "", "What was written until then")
	cmd.Flags().BoolVarP(&o.Timestamps, "timestamps", "t", false, "With times")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, obs, err := s.observe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		e, ok := m.Engine.(*docker.Engine)
		if !ok {
			return errors.New("the Engine has no logs")
		}
		cs, width, err := chosen(obs, args[0], args[1:])
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		errs := make([]error, len(cs))
		for i, c := range cs {
			wg.Go(func() {
				prefix := fmt.Sprintf("%-*s | ", width, c.Member)
				if len(args) == 2 {
					prefix = "" // of one only, as docker logs has it
				}
				errs[i] = copyLogs(cmd, e, c, o, prefix, &mu)
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	return cmd
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
			if err != nil {
				return nil, 0, err
			}
			return nil, 0, plan.NoMember(known, n)
		}
	}
	return cs, width, nil
}

// copyLogs copies lines, whole ones, each with the prefix.
func copyLogs(cmd *cobra.Command, e *docker.Engine, c plan.Container, o docker.LogOptions, prefix string, mu *sync.Mutex) error {
	in, tty, err := e.Logs(cmd.Context(), c.ID, o)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out := &prefixed{w: cmd.OutOrStdout(), prefix: prefix, mu: mu}
	errOut := &prefixed{w: cmd.ErrOrStderr(), prefix: prefix, mu: mu}
	defer out.flush()
	defer errOut.flush()
	if tty {
		_, err = io.Copy(out, in)
	} else {
		_, err = stdcopy.StdCopy(out, errOut, in)
	}
	if cmd.Context().Err() != nil {
		return nil
	}
	return err
}

// prefixed writes whole lines with a prefix.
type prefixed struct {
	w      io.Writer
	prefix string
	mu     *sync.Mutex
	rest   []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	if p.prefix == "" {
		return p.w.Write(b)
	}
	p.rest = append(p.rest, b...)
	for {
		i := slices.Index(p.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		if err := p.line(p.rest[:i+1]); err != nil {
			return len(b), err
		}
		p.rest = p.rest[i+1:]
	}
}

func (p *prefixed) line(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := fmt.Fprintf(p.w, "%s%s", p.prefix, b)
	return err
}

func (p *prefixed) flush() {
	if len(p.rest) > 0 {
		_ = p.line(append(p.rest, '\n')) // the end of a log that breaks off
	}
}

func (s *sets) events() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "events [OPTIONS] [SET]", Short: "Show what happens to the containers of sets", Args: between(0, "SET"), ValidArgsFunction: s.oneSet}
	cmd.Flags().StringVar(&format, "format", "", `"json", or nothing for lines`)
	complete(cmd, "format", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if format != "" && format != "json" {
			return usage("--format %s is not known: want json", format)
		}
		filters := []string{"events", "--filter", "label=mos.set"}
		if len(args) > 0 {
			filters[2] = "label=mos.set=" + args[0]
		}
		if format == "json" {
			filters = append(filters, "--format", "{{json .}}")
		}
		return s.docker(filters)
	}
	return cmd
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
		return s.docker(argv)
	}
	return cmd
}
