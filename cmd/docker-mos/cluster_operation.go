package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
)

func (c *cluster) operation() *cobra.Command {
	cmd := c.group("operation", "What takes its time in a cluster: rollouts, drains, rebalances")
	cmd.AddCommand(c.operationLs(), clusterInspect[api.Operation](c, "inspect [OPTIONS] OPERATION...", "Show all of operations", c.operations),
		c.operationWait(), c.operationCancel())
	return cmd
}

func (c *cluster) operations(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.offered(cmd, args, namesOf[api.Operation])
}

// operationState is an operation in one word.
func operationState(o *api.Operation) string {
	return cmp.Or(string(o.Status.Outcome), o.Status.Phase, "new")
}

func operationOn(o *api.Operation) string { return string(o.Spec.On.Kind) + "/" + o.Spec.On.Name }

func (c *cluster) operationLs() *cobra.Command {
	type row = *api.Operation
	l := &list[row]{
		id: func(o row) string { return o.Name }, named: true, empty: "no operations: rollouts, drains and rebalances are some",
		columns: []column[row]{
			{name: "Name", header: "NAME", value: func(o row) string { return o.Name }},
			{name: "Verb", header: "VERB", value: func(o row) string { return o.Spec.Verb }},
			{name: "On", header: "ON", value: operationOn},
			{name: "State", header: "STATE", value: operationState},
			{name: "Done", header: "DONE", value: func(o row) string { return strconv.Itoa(o.Status.Done) + "/" + strconv.Itoa(o.Status.Of) }},
			{name: "Since", header: "SINCE", value: func(o row) string { return ago(o.Created) }},
			{name: "Message", header: "MESSAGE", value: func(o row) string { return dash(o.Status.Message) }},
			{name: "By", header: "BY", extra: true, value: func(o row) string { return dash(o.Spec.By) }},
		},
		filters: []filter[row]{
			byName(func(o row) string { return o.Name }),
			{key: "state", matches: func(o row, v string) bool { return operationState(o) == v }},
			{key: "verb", matches: func(o row, v string) bool { return o.Spec.Verb == v }},
		},
		values: map[string][]string{
			"state": {string(api.Succeeded), string(api.Broken), string(api.Canceled), "planned", "moving", "updating", "paused", "partitioned", "emptying", "waiting"},
			"verb":  {api.Drain, api.Rollout, api.Rebalance},
		},
	}
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List operations, those that ended for a day", Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	return clusterList(c, cmd, l, func(ctx context.Context, cl *client.Client) ([]row, error) {
		all, err := client.List[api.Operation](ctx, cl, client.Filter{})
		return all.Items, err
	})
}

func (c *cluster) operationWait() *cobra.Command {
	w := &waiting{}
	cmd := &cobra.Command{
		Use: "wait [OPTIONS] OPERATION...", Short: "Wait until operations end; exit code 1 says that one did not succeed", Args: exactly("OPERATION..."), ValidArgsFunction: c.operations,
	}
	cmd.Flags().DurationVar(&w.timeout, "timeout", 10*time.Minute, "How long to wait")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
			o, err := client.Get[api.Operation](ctx, cl, name)
			if err != nil {
				return err
			}
			return w.ended(ctx, cmd, cl, o)
		})
	}
	return cmd
}

// ended waits for the end of an operation, and says how it was if that is not well.
func (w *waiting) ended(ctx context.Context, cmd *cobra.Command, c *client.Client, o *api.Operation) error {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	say := newProgress(cmd)
	defer say.end()
	far := ""
	for now, err := range follow(ctx, c, o) {
		switch {
		case err != nil && ctx.Err() != nil:
			return hinted(failure(w.over(ctx), "operation %s did not end %s: %s", o.Name, w.until(ctx), far),
				"it goes on: docker set operation wait "+o.Name, "docker set operation cancel "+o.Name+" ends it")
		case err != nil:
			return err
		case now.Status.Outcome == api.Succeeded:
			return nil
		case now.Status.Outcome != "":
			return failure(errdefs.ErrAborted, "operation %s %s: %s", o.Name, now.Status.Outcome, now.Status.Message)
		}
		far = strings.TrimSuffix(fmt.Sprintf("%s, %d of %d: %s", operationState(now), now.Status.Done, now.Status.Of, now.Status.Message), ": ")
		say.text(o.Name, far)
	}
	return nil
}

func (c *cluster) operationCancel() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel OPERATION...", Short: "End operations: a rollout goes back, a drained host keeps what it has, a rebalance makes no more moves",
		Args: exactly("OPERATION..."), ValidArgsFunction: c.operations,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
			o, err := client.Patch[api.Operation](ctx, cl, name, map[string]any{"spec": map[string]any{"cancel": true}}, client.Change{})
			if err == nil && o.Status.Outcome != "" {
				return failure(errdefs.ErrFailedPrecondition, "operation %s ended before: it %s", name, o.Status.Outcome)
			}
			return err
		})
	}
	return cmd
}

func (c *cluster) rebalance() *cobra.Command {
	o := &api.Operation{Spec: api.OperationSpec{Verb: api.Rebalance, On: api.Reference{Kind: api.Services, Name: "*"}}}
	w := &waiting{}
	var dry, yes bool
	cmd := &cobra.Command{
		Use: "rebalance [OPTIONS] [SERVICE]", Short: "Move sets to hosts that are better for them now, of one service or of all", Args: between(0, "SERVICE"),
		ValidArgsFunction: c.services, Annotations: map[string]string{clusterWide: "yes"},
		Long: "Move sets to hosts that are better for them now: where their host breaks a rule of their service, such as a constraint or a skew, or where they gain points of score. " +
			"The plan is shown first, with what it makes better. Sets are moved a few at a time, and no more of a service than its maxUnavailable; each goes only if it is better off still when its turn comes. " +
			"It stops where a set does not get ready. Sets with a volume stay where that is.",
		Example: "docker set rebalance --dry-run",
	}
	f := cmd.Flags()
	f.BoolVar(&dry, "dry-run", false, "Show the plan, and move nothing")
	f.BoolVarP(&yes, "yes", "y", false, "Do not ask")
	f.IntVar(&o.Spec.Most, "most", 0, "How many sets are moved at most (100 by default)")
	f.IntVar(&o.Spec.AtOnce, "at-once", 0, "How many are moved at a time (2 by default)")
	f.Float64Var(&o.Spec.Gain, "gain", 0, "How many points of score a set must gain to be moved (1 by default)")
	f.BoolVarP(&w.detach, "detach", "d", false, "Do not wait for its end")
	f.DurationVar(&w.timeout, "timeout", 10*time.Minute, "How long to wait for its end")
	format := textFormat(cmd, printMoves)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := format()
		if err != nil {
			return err
		}
		if len(args) > 0 {
			o.Spec.On.Name = args[0]
		}
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			o.Name = "rebalance." + strconv.FormatInt(time.Now().UnixMilli(), 36)
			plan, err := client.Create(ctx, cl, o, client.Change{DryRun: true})
			if err != nil {
				return err
			}
			if err := write(cmd.OutOrStdout(), plan); err != nil || dry || len(plan.Status.Moves) == 0 {
				return err
			}
			if err := agreeToMoves(cmd, len(plan.Status.Moves), yes); err != nil {
				return err
			}
			made, err := client.Create(ctx, cl, o, client.Change{})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), made.Name); err != nil || w.detach {
				return err
			}
			return w.ended(ctx, cmd, cl, made)
		})
	}
	return cmd
}

// agreeToMoves asks whether sets are to be moved.
func agreeToMoves(cmd *cobra.Command, n int, yes bool) error {
	const refused = "no set was moved"
	switch {
	case yes:
		return nil
	case !terminal(cmd.InOrStdin()):
		return hinted(failure(errdefs.ErrFailedPrecondition, "%s: nobody can be asked here", refused), "give --yes, or --dry-run to see the plan only")
	}
	return confirm(cmd, fmt.Sprintf("%d sets are moved", n), refused)
}

func printMoves(w io.Writer, o *api.Operation) error {
	var b strings.Builder
	if len(o.Status.Moves) == 0 {
		b.WriteString("no set is better off elsewhere\n")
	}
	for _, m := range o.Status.Moves {
		fmt.Fprintf(&b, "%s from %s to %s: ", m.Set, m.From, m.To)
		if m.Rule != "" {
			fmt.Fprintf(&b, "%s of host %s breaks a rule, ", m.Rule, m.From)
		}
		fmt.Fprintf(&b, "%+.2f points\n", m.Gain)
	}
	if before, after := o.Status.Before, o.Status.After; before != nil && after != nil && len(o.Status.Moves) > 0 {
		fmt.Fprintf(&b, "sets whose host breaks a rule: %d, then %d\n", before.Broken, after.Broken)
		fmt.Fprintf(&b, "points of a set on average: %.2f, then %.2f\n", before.Score, after.Score)
		fmt.Fprintf(&b, "hosts that have sets: %d, then %d\n", before.Hosts, after.Hosts)
		fmt.Fprintf(&b, "in use: %d%% to %d%% of hosts, then %d%% to %d%%\n", before.Emptiest, before.Fullest, after.Emptiest, after.Fullest)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
