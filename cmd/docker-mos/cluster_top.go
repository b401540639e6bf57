package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
)

func (c *cluster) hostTop() *cobra.Command {
	var sets bool
	cmd := &cobra.Command{
		Use: "top [OPTIONS] [HOST...]", Short: "Show what hosts use of what they have, live", ValidArgsFunction: c.hosts,
		Args:    func(*cobra.Command, []string) error { return nil },
		Long:    "Each host's mosd measures that, without asking its Engine, and tells the scheduler: figures are some seconds old. " + onceElsewhere,
		Example: "docker set host top\ndocker set host top --sets --no-stream --sort memory h1",
	}
	cmd.Flags().BoolVar(&sets, "sets", false, "Show the sets of each host below it, too")
	return c.usage(cmd, usedList(true), func(ctx context.Context, cl *client.Client, hosts []string) ([]*api.Measured, error) {
		q := api.MeasuredQuery{Of: api.OnlyHosts, Limit: mostOfPage}
		if sets {
			q.Of = ""
		}
		return usedBy(hosts, func(host string) ([]*api.Measured, error) {
			if q.Host = host; host != "" {
				if _, err := client.Get[api.Host](ctx, cl, host); err != nil {
					return nil, err
				}
			}
			return cl.Usage(ctx, q)
		})
	})
}

func (c *cluster) serviceStats() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stats [OPTIONS] [SERVICE...]", Short: "Show what sets of services use of what they were given, live", ValidArgsFunction: c.services,
		Args:    func(*cobra.Command, []string) error { return nil },
		Long:    "The mosd of each set's host measures that, without asking its Engine, and tells the scheduler: figures are some seconds old. " + onceElsewhere,
		Example: "docker set service stats\ndocker set service stats --no-stream --sort memory web",
	}
	return c.usage(cmd, usedList(false), func(ctx context.Context, cl *client.Client, services []string) ([]*api.Measured, error) {
		return usedBy(services, func(service string) ([]*api.Measured, error) {
			if service != "" {
				if _, err := client.Get[api.Service](ctx, cl, service); err != nil {
					return nil, err
				}
			}
			return cl.Usage(ctx, api.MeasuredQuery{Of: api.OnlySets, Service: service, Limit: mostOfPage})
		})
	})
}

const mostOfPage = 5000

// usedBy asks for one name after the other, or for all where none is given.
func usedBy(names []string, ask func(string) ([]*api.Measured, error)) (all []*api.Measured, err error) {
	if len(names) == 0 {
		return ask("")
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		some, err := ask(name)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// usage makes a command one that shows what is used.
func (c *cluster) usage(cmd *cobra.Command, l *list[*api.Measured], ask func(context.Context, *client.Client, []string) ([]*api.Measured, error)) *cobra.Command {
	f := &topFlags{}
	f.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		if err := l.check(); err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		return f.show(cmd, l.format, l.quiet, func(ctx context.Context, out io.Writer) error {
			all, err := ask(ctx, cl, args)
			if err != nil {
				return clusterError(cl, err)
			}
			l.by = pluginOf(cmd)
			return l.to(out, cmd.ErrOrStderr(), mostFirst(all, f.by))
		})
	}
	l.flags(cmd)
	return cmd
}

// orTop lets docker set top without a set, but with --cluster, show what hosts and sets of that
// cluster use.
func (c *cluster) orTop(cmd *cobra.Command) *cobra.Command {
	processes, args := cmd.RunE, cmd.Args
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if c.topOf(cmd, given) {
			return nil
		}
		return args(cmd, given)
	}
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if !c.topOf(cmd, given) {
			return processes(cmd, given)
		}
		all := c.hostTop()
		all.SetContext(cmd.Context())
		all.SetOut(cmd.OutOrStdout())
		all.SetErr(cmd.ErrOrStderr())
		if err := all.Flags().Set("sets", "true"); err != nil {
			return err
		}
		return all.RunE(all, nil)
	}
	cmd.Long += "\n\nWith --cluster and without a set it is docker set host top --sets: what the hosts and sets of the cluster use."
	return cmd
}

func (c *cluster) topOf(cmd *cobra.Command, args []string) bool {
	return c.name != "" && len(args) == 0 && cmd.Name() == "top"
}

// mostFirst orders what uses the most first, of what is not known last; sets stay behind their
// hosts where these are there.
func mostFirst(all []*api.Measured, by string) []*api.Measured {
	key := map[string]func(api.Use) int64{
		"cpu":    func(u api.Use) int64 { return u.CPU },
		"memory": func(u api.Use) int64 { return u.Memory },
		"net":    func(u api.Use) int64 { return u.Received + u.Sent },
		"io":     func(u api.Use) int64 { return u.Read + u.Written },
	}[by]
	of := func(m *api.Measured) int64 {
		if key == nil || m.Use == nil {
			return -1 << 60
		}
		return key(*m.Use)
	}
	hosts := map[string]int64{}
	for _, m := range all {
		if m.Set == "" {
			hosts[m.Host] = of(m)
		}
	}
	slices.SortStableFunc(all, func(a, b *api.Measured) int {
		if len(hosts) > 0 && a.Host != b.Host {
			return cmp.Or(cmp.Compare(hosts[b.Host], hosts[a.Host]), cmp.Compare(a.Host, b.Host))
		}
		if len(hosts) > 0 && (a.Set == "" || b.Set == "") {
			return cmp.Compare(a.Set, b.Set)
		}
		return cmp.Or(cmp.Compare(of(b), of(a)), cmp.Compare(a.Set, b.Set))
	})
	return all
}

// usedList shows hosts, maybe with sets below them, or sets alone.
func usedList(hosts bool) *list[*api.Measured] {
	type row = *api.Measured
	// figure is one of what is used, a dash for what was not measured.
	figure := func(x row, of func(api.Use) int64, form func(float64) string) string {
		if x.Use == nil || of(*x.Use) < 0 {
			return "-"
		}
		return form(float64(of(*x.Use)))
	}
	size := func(n float64) string { return binary(uint64(n)) }
	cpu, mem := func(u api.Use) int64 { return u.CPU }, func(u api.Use) int64 { return u.Memory }
	part := func(x row, of func(api.Use) int64, whole int64) string {
		if whole <= 0 {
			return "-"
		}
		return figure(x, of, func(n float64) string { return fmt.Sprintf("%.0f%%", 100*n/float64(whole)) })
	}
	may := func(x row) api.Amounts {
		if x.Set == "" {
			return x.Capacity
		}
		return x.Given
	}
	given := func(x row) string {
		return cores(float64(x.Given.CPU)/1000) + " / " + memory(uint64(max(0, x.Given.Memory)))
	}
	return &list[row]{
		id: func(x row) string { return cmp.Or(x.Set, x.Host) }, named: true,
		empty: map[bool]string{true: "no hosts: mosd on a host joins this cluster", false: "no set is on a host"}[hosts],
		columns: []column[row]{
			{name: "Name", header: "NAME", whole: true, value: func(x row) string {
				if hosts && x.Set != "" {
					return "  " + x.Set
				}
				return cmp.Or(x.Set, x.Host)
			}},
			{name: "Host", header: "HOST", extra: hosts, value: func(x row) string { return x.Host }},
			{name: "Service", header: "SERVICE", extra: true, value: func(x row) string { return dash(x.Service) }},
			{name: "Sets", header: "SETS", extra: !hosts, value: func(x row) string {
				if x.Set != "" {
					return "-"
				}
				return strconv.Itoa(x.Sets)
			}},
			{name: "CPU", header: "CPU", value: func(x row) string {
				return figure(x, cpu, func(n float64) string { return fmt.Sprintf("%.2f", n/1000) })
			}},
			{name: "CPUPercent", header: "CPU %", value: func(x row) string { return part(x, cpu, may(x).CPU) }},
			{name: "Memory", header: map[bool]string{true: "MEMORY / CAPACITY", false: "MEMORY / GIVEN"}[hosts], value: func(x row) string {
				if may(x).Memory <= 0 {
					return figure(x, mem, size)
				}
				return figure(x, mem, size) + " / " + size(float64(may(x).Memory))
			}},
			{name: "MemoryPercent", header: "MEM %", value: func(x row) string { return part(x, mem, may(x).Memory) }},
			{name: "Net", header: "NET IN / OUT", value: func(x row) string {
				return figure(x, func(u api.Use) int64 { return u.Received }, size) + " / " + figure(x, func(u api.Use) int64 { return u.Sent }, size)
			}},
			{name: "IO", header: "READ / WRITTEN", value: func(x row) string {
				return figure(x, func(u api.Use) int64 { return u.Read }, size) + " / " + figure(x, func(u api.Use) int64 { return u.Written }, size)
			}},
			{name: "Measured", header: "MEASURED", value: func(x row) string { return ago(x.Measured) }},
			{name: "Given", header: "GIVEN CPU / MEMORY", extra: true, value: given},
		},
		filters: []filter[row]{
			byName(func(x row) string { return cmp.Or(x.Set, x.Host) }),
			{key: "host", matches: func(x row, v string) bool { return x.Host == v }},
		},
	}
}
