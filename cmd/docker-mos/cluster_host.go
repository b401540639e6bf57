package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
)

func (c *cluster) host() *cobra.Command {
	cmd := c.group("host", "Hosts of a cluster")
	cmd.AddCommand(c.hostLs(), c.hostTop(), clusterInspect[api.Host](c, "inspect [OPTIONS] HOST...", "Show all of hosts", c.hosts), c.hostDrain(),
		c.hostChange("cordon", "Give hosts no more sets; those they have stay", wish("availability", api.Cordoned)),
		c.hostChange("activate", "Let hosts take sets again", wish("availability", nil)),
		c.hostChange("fence", "Give your word that nothing of a lost host runs or reaches a network: sets with a fixed address or a volume then run elsewhere", wish("fenced", true)),
		c.hostLabel(), c.hostRm())
	return cmd
}

// hostRow is a host, and how many sets are on it.
type hostRow struct {
	*api.Host
	Sets int `json:"sets"`
}

func (c *cluster) hostLs() *cobra.Command {
	type row = hostRow
	l := &list[row]{
		id: func(h row) string { return h.Name }, named: true, empty: "no hosts: mosd on a host joins this cluster",
		columns: []column[row]{
			{name: "Name", header: "NAME", value: func(h row) string { return h.Name }},
			{name: "State", header: "STATE", value: hostState},
			{name: "Sets", header: "SETS", value: func(h row) string { return strconv.Itoa(h.Sets) }},
			{name: "CPU", header: "CPU", value: func(h row) string { return cores(float64(h.Status.Capacity.CPU) / 1000) }},
			{name: "Memory", header: "MEMORY", value: func(h row) string { return memory(uint64(max(0, h.Status.Capacity.Memory))) }},
			{name: "Disk", header: "DISK", value: func(h row) string { return memory(uint64(max(0, h.Status.Capacity.Disk))) }},
			{name: "Engine", header: "ENGINE", value: func(h row) string { return dash(h.Status.Engine) }},
			{name: "Rack", header: "RACK", value: func(h row) string { return dash(h.Spec.Rack) }},
			{name: "Room", header: "ROOM", value: func(h row) string { return dash(h.Spec.Room) }},
			{name: "Since", header: "SINCE", extra: true, value: func(h row) string { return ago(h.Status.Since) }},
			{name: "Trouble", header: "TROUBLE", extra: true, value: func(h row) string { return h.Status.Trouble }},
		},
		filters: []filter[row]{
			byName(func(h row) string { return h.Name }),
			{key: "state", matches: func(h row, v string) bool { return hostState(h) == v }},
			labelFilter(func(h row) map[string]string { return h.Labels }),
		},
		values: map[string][]string{"state": {"active", "cordoned", "draining", "troubled", "suspect", "lost", "new", "leaving"}},
	}
	cmd := &cobra.Command{Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List hosts", Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions}
	return clusterList(c, cmd, l, func(ctx context.Context, cl *client.Client) ([]row, error) {
		hosts, err := client.List[api.Host](ctx, cl, client.Filter{})
		if err != nil {
			return nil, err
		}
		sets, err := client.List[api.SetInstance](ctx, cl, client.Filter{})
		count := map[string]int{}
		for _, s := range sets.Items {
			count[s.Spec.Host]++
		}
		var rows []row
		for _, h := range hosts.Items {
			rows = append(rows, row{h, count[h.Name]})
		}
		return rows, err
	})
}

// hostState is a host in one word: whether it is heard of, then whether it takes sets.
func hostState(h hostRow) string {
	switch {
	case !h.Deleted.IsZero():
		return "leaving"
	case h.Status.Health == "":
		return "new"
	case h.Status.Health != api.Healthy:
		return string(h.Status.Health)
	case h.Status.Trouble != "":
		return "troubled"
	case h.Spec.Availability == "":
		return string(api.Active)
	}
	return string(h.Spec.Availability)
}

// hostChange is a command that patches hosts.
func (c *cluster) hostChange(use, short string, patch map[string]any) *cobra.Command {
	cmd := &cobra.Command{Use: use + " HOST...", Short: short, Args: exactly("HOST..."), ValidArgsFunction: c.hosts}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
			_, err := client.Patch[api.Host](ctx, cl, name, patch, client.Change{})
			return err
		})
	}
	return cmd
}

func (c *cluster) hostDrain() *cobra.Command {
	w := &waiting{}
	cmd := &cobra.Command{
		Use: "drain [OPTIONS] HOST...", Short: "Empty hosts: their sets go elsewhere, those with a volume stay where it is", Args: exactly("HOST..."),
		ValidArgsFunction: c.hosts,
	}
	cmd.Flags().BoolVarP(&w.detach, "detach", "d", false, "Do not wait until the host is empty")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 5*time.Minute, "How long to wait until the host is empty")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
			_, err := client.Patch[api.Host](ctx, cl, name, wish("availability", api.Draining), client.Change{})
			if err != nil || w.detach {
				return err
			}
			return w.empty(ctx, cmd, cl, name)
		})
	}
	return cmd
}

// empty waits until no set is on a host.
func (w *waiting) empty(ctx context.Context, cmd *cobra.Command, cl *client.Client, host string) error {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	say := newProgress(cmd)
	defer say.end()
	has := ""
	for {
		sets, err := client.List[api.SetInstance](ctx, cl, client.Filter{Host: host})
		if err == nil && len(sets.Items) == 0 {
			return nil
		}
		if err == nil {
			var names []string
			for _, s := range sets.Items {
				names = append(names, s.Name)
			}
			has = "it has " + strings.Join(names, ", ")
			say.text("host "+host, has)
			for _, err = range client.Watch[api.SetInstance](ctx, cl, sets.Revision) {
				break // something changed
			}
		}
		switch {
		case ctx.Err() != nil:
			return hinted(failure(w.over(ctx), "host %s is not empty %s: %s", host, w.until(ctx), has),
				"sets with a volume stay: scale their services, or remove them", "docker set explain SERVICE says why others have nowhere to go")
		case err != nil && !errdefs.IsUnavailable(err) && !errdefs.IsOutOfRange(err):
			return err
		}
	}
}

func (c *cluster) hostLabel() *cobra.Command {
	cmd := &cobra.Command{
		Use: "label HOST KEY=VALUE|KEY-...", Short: "Give a host labels, or take them away (KEY-); constraints of services choose by them",
		Args: between(2, "HOST", "KEY=VALUE|KEY-..."), ValidArgsFunction: c.hosts,
		Example: "docker set host label h1 disk=ssd rack=k2 old-",
		Long:    "Give a host labels, or take them away (KEY-). Constraints of services choose by them; rack and room are where the host is, for spread.",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		patch, err := labelPatch(args[1:])
		if err != nil {
			return err
		}
		return c.eachOf(cmd, args[:1], func(ctx context.Context, cl *client.Client, name string) error {
			_, err := client.Patch[api.Host](ctx, cl, name, patch, client.Change{})
			return err
		})
	}
	return cmd
}

func labelPatch(args []string) (map[string]any, error) {
	labels, where := map[string]any{}, map[string]any{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		to := labels
		var v any = value
		if !ok {
			if key, ok = strings.CutSuffix(arg, "-"); !ok {
				return nil, usage("%q is neither KEY=VALUE nor KEY-", arg)
			}
			v = nil
		}
		if key == "rack" || key == "room" {
			to = where
		}
		to[key] = v
	}
	patch := map[string]any{}
	if len(labels) > 0 {
		patch["labels"] = labels
	}
	if len(where) > 0 {
		patch["spec"] = where
	}
	return patch, nil
}

func (c *cluster) hostRm() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm HOST...", Aliases: []string{"remove"}, Short: "Take hosts out of the cluster: they are emptied first; a lost one is taken to be gone for good",
		Args: exactly("HOST..."), ValidArgsFunction: c.hosts,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
			_, err := client.Delete[api.Host](ctx, cl, name)
			return err
		})
	}
	return cmd
}

func (c *cluster) explain() *cobra.Command {
	var host string
	cmd := &cobra.Command{
		Use: "explain [OPTIONS] SERVICE", Short: "Say where one more set of a service would go, and why not elsewhere", Args: exactly("SERVICE"),
		ValidArgsFunction: c.services, Annotations: map[string]string{clusterWide: "yes"},
		Long: "Say where one more set of a service would go: how many hosts each filter rejects (alone: those that no other filter rejects), and the best hosts by their score. With --host, all reasons of that host; a tenant is not told the names of others' sets.",
	}
	cmd.Flags().StringVar(&host, "host", "", "Say also why this host takes it or not")
	// The only error is a second registration.
	_ = cmd.RegisterFlagCompletionFunc("host", c.hosts)
	format := textFormat(cmd, printPlacement)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := format()
		if err != nil {
			return err
		}
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			e, err := cl.Explain(ctx, args[0], host)
			if err != nil {
				return err
			}
			if host == "" && e.Fit == 0 && e.Hosts > 0 {
				defer remarkBy(cmd.ErrOrStderr(), "set", "what a host lacks in particular: docker set explain --host HOST %s", args[0])
			}
			return write(cmd.OutOrStdout(), e)
		})
	}
	return cmd
}
