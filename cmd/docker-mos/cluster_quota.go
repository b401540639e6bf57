package main

import (
	"context"
	"math"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
)

func (c *cluster) quota() *cobra.Command {
	cmd := c.group("quota", "How much services of tenants may ask for in sum")
	cmd.AddCommand(c.quotaSet(), c.quotaLs(), clusterInspect[api.Quota](c, "inspect [OPTIONS] TENANT...", "Show all of quotas", c.quotas), c.quotaRm())
	return cmd
}

func (c *cluster) quotas(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.offered(cmd, args, namesOf[api.Quota])
}

func (c *cluster) quotaSet() *cobra.Command {
	var sets, priority int
	var cpus float64
	var memory, disk string
	cmd := &cobra.Command{
		Use: "set [OPTIONS] TENANT", Short: "Bound what services whose names begin with TENANT- may ask for in sum", Args: exactly("TENANT"), ValidArgsFunction: c.quotas,
		Long: "Bound what services whose names begin with TENANT- may ask for in sum. What no option names stays as it is; 0 is no bound. " +
			"What runs above a quota that became smaller runs on, and is not placed anew.",
		Example: "docker set quota set shop --sets 20 --cpus 16 --memory 64g --disk 500g",
	}
	f := cmd.Flags()
	f.IntVar(&sets, "sets", 0, "Replicas")
	f.Float64Var(&cpus, "cpus", 0, "Cores")
	f.StringVar(&memory, "memory", "", "Memory, such as 64g")
	f.StringVar(&disk, "disk", "", "Space of volumes, such as 500g")
	f.IntVar(&priority, "priority", 0, "Highest priority that services made by the tenant may have")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec := map[string]any{}
		if f.Changed("sets") {
			spec["sets"] = sets
		}
		if f.Changed("cpus") {
			if cpus < 0 || math.IsNaN(cpus) || math.IsInf(cpus, 0) {
				return usage("--cpus: %v is no number of cores, 0 for no bound", cpus)
			}
			spec["cpu"] = int64(math.Round(cpus * 1000))
		}
		if f.Changed("priority") {
			spec["priority"] = priority
		}
		for key, text := range map[string]string{"memory": memory, "disk": disk} {
			if f.Changed(key) {
				n, err := units.RAMInBytes(text)
				if err != nil {
					return usage("--%s: %s", key, err)
				}
				spec[key] = n
			}
		}
		if len(spec) == 0 {
			return usage("name what is bound: --sets, --cpus, --memory, --disk or --priority")
		}
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
			_, err := client.Patch[api.Quota](ctx, cl, name, map[string]any{"spec": spec}, client.Change{})
			if !errdefs.IsNotFound(err) {
				return err
			}
			q := &api.Quota{Meta: api.Meta{Name: name}}
			if _, err := client.Create(ctx, cl, q, client.Change{}); err != nil && !errdefs.IsAlreadyExists(err) {
				return err
			}
			_, err = client.Patch[api.Quota](ctx, cl, name, map[string]any{"spec": spec}, client.Change{})
			return err
		})
	}
	return cmd
}

// ofBound is how much is asked for, of what is allowed.
func ofBound(asked, most int64, show func(int64) string) string {
	if most == 0 {
		return show(asked) + "/-"
	}
	return show(asked) + "/" + show(most)
}

func (c *cluster) quotaLs() *cobra.Command {
	type row = *api.Quota
	inBytes := func(n int64) string { return memory(uint64(max(0, n))) }
	l := &list[row]{
		id: func(q row) string { return q.Name }, named: true, empty: "no quotas: docker set quota set TENANT makes one",
		columns: []column[row]{
			{name: "Tenant", header: "TENANT", value: func(q row) string { return q.Name }},
			{name: "Sets", header: "SETS", value: func(q row) string {
				return ofBound(int64(q.Status.Asked.Sets), int64(q.Spec.Sets), func(n int64) string { return strconv.FormatInt(n, 10) })
			}},
			{name: "CPU", header: "CPU", value: func(q row) string {
				return ofBound(q.Status.Asked.CPU, q.Spec.CPU, func(n int64) string { return cores(float64(n) / 1000) })
			}},
			{name: "Memory", header: "MEMORY", value: func(q row) string { return ofBound(q.Status.Asked.Memory, q.Spec.Memory, inBytes) }},
			{name: "Disk", header: "DISK", value: func(q row) string { return ofBound(q.Status.Asked.Disk, q.Spec.Disk, inBytes) }},
			{name: "Priority", header: "PRIORITY", value: func(q row) string { return strconv.Itoa(q.Spec.Priority) }},
		},
		filters: []filter[row]{byName(func(q row) string { return q.Name })},
	}
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List quotas: what services of tenants ask for, of what they may", Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	return clusterList(c, cmd, l, func(ctx context.Context, cl *client.Client) ([]row, error) {
		all, err := client.List[api.Quota](ctx, cl, client.Filter{})
		return all.Items, err
	})
}

func (c *cluster) quotaRm() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm TENANT...", Aliases: []string{"remove"}, Short: "Bound tenants no more", Args: exactly("TENANT..."), ValidArgsFunction: c.quotas,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
			_, err := client.Delete[api.Quota](ctx, cl, name)
			return err
		})
	}
	return cmd
}
