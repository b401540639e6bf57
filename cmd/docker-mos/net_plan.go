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

func (n network) plan() *cobra.Command {
	return listCommand(n.daemon, planList(), "plan", "Show what the next repair would do", func(c *api.Client, ctx context.Context) ([]api.Step, error) {
		p, err := c.Plan(ctx)
		return p.Steps, err
	})
}
