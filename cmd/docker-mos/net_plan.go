package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/mosbridge/api"
)

func planList() *list[api.Step] {
	return &list[api.Step]{
		empty: "nothing to do",
		columns: []column[api.Step]{
			{name: "Op", header: "STEP", value: func(s api.Step) string { return s.Op }},
			{name: "Object", header: "OBJECT", value: func(s api.Step) string { return s.Object }},
			{name: "Bridge", header: "BRIDGE", value: func(s api.Step) string { return dash(s.Bridge) }},
			{name: "Cause", header: "CAUSE", value: func(s api.Step) string { return s.Cause }},
		},
	}
}

func (a *app) plan() *cobra.Command {
	return listCommand(a, planList(), "plan", "Show what the next repair would do", func(c *api.Client, ctx context.Context) ([]api.Step, error) {
		p, err := c.Plan(ctx)
		return p.Steps, err
	})
}

func findingList(empty string) *list[api.Finding] {
	return &list[api.Finding]{
		empty: empty,
		columns: []column[api.Finding]{
			{name: "Kind", header: "KIND", value: func(f api.Finding) string { return f.Kind }},
			{name: "Object", header: "OBJECT", value: func(f api.Finding) string { return f.Object }},
			{name: "Detail", header: "DETAIL", value: func(f api.Finding) string { return f.Detail }},
			{name: "Hint", header: "HINT", extra: true, value: func(f api.Finding) string { return dash(f.Hint) }},
		},
	}
}

func (a *app) gc() *cobra.Command {
	var dry bool
	cmd := listCommand(a, findingList("nothing to collect"), "gc", "Collect at once what Docker does not know", func(c *api.Client, ctx context.Context) ([]api.Finding, error) {
		g, err := c.GC(ctx, api.GCRequest{DryRun: dry})
		return g.Objects, err
	})
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Print what would be collected, and do nothing")
	return cmd
}
