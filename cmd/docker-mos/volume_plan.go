package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

// change is a command that changes volumes. It prints the names of what it
// changed; asked for a dry run or a format, it prints its steps as a list.
type change struct {
	volume
	dry  bool
	list *list[lvm.Step]
}

func (v volume) change(cmd *cobra.Command) *change {
	type s = lvm.Step
	c := &change{volume: v, list: &list[s]{
		empty: "nothing to do",
		columns: []column[s]{
			{name: "Op", header: "STEP", value: func(x s) string { return x.Op }},
			{name: "Object", header: "OBJECT", whole: true, value: func(x s) string { return x.Object }},
			{name: "Detail", header: "DETAIL", whole: true, value: func(x s) string { return dash(x.Detail) }},
			{name: "Cause", header: "CAUSE", value: func(x s) string { return x.Cause }},
		},
	}}
	cmd.Flags().BoolVar(&c.dry, "dry-run", false, "Print the steps that would be done, and do nothing")
	c.list.flags(cmd)
	cmd.Flags().Lookup("format").Usage = "Print the steps: " + cmd.Flags().Lookup("format").Usage
	return c
}

// run does something for one argument after the other: do returns what was
// planned or done, and the name to print.
func (c *change) run(cmd *cobra.Command, args []string, do func(ctx context.Context, client *lvm.Client, arg string) (lvm.Plan, string, error)) error {
	if err := c.list.check(); err != nil {
		return err
	}
	listed := c.dry || cmd.Flags().Changed("format")
	var steps []lvm.Step
	err := c.long(cmd, func(ctx context.Context, client *lvm.Client) error {
		return each(args, func(arg string) error {
			plan, name, err := do(ctx, client, arg)
			if err != nil {
				return err
			}
			if plan.Note != "" {
				remark(cmd.ErrOrStderr(), "%s", plan.Note)
			}
			steps = append(steps, plan.Steps...)
			if !listed {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
			}
			return err
		})
	})
	if listed && (err == nil || steps != nil) {
		l := c.list
		if err := l.print(cmd, steps); err != nil {
			return err
		}
	}
	return err
}

// named is the name of a plan's volume, or what it was asked for by.
func named(p lvm.Plan, asked string) string {
	if p.Volume != nil && p.Volume.Name != "" {
		return p.Volume.Name
	}
	return asked
}
