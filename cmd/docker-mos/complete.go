package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/mosbridge/api"
)

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete offers fixed words for a flag.
func complete(cmd *cobra.Command, flag string, words ...string) {
	// The only error is a second registration, which no command makes.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// names offers what ask returns for arguments up to the count-th; 0 is no limit.
// A daemon that does not answer offers nothing.
func (d *daemon[C]) names(count int, ask ...func(context.Context, C) []string) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if count > 0 && len(args) >= count {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		out := d.offer(cmd, ask...)
		slices.Sort(out)
		out = slices.DeleteFunc(slices.Compact(out), func(s string) bool { return s == "" || slices.Contains(args, s) })
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// offer asks a daemon while a user waits who pressed Tab.
func (d *daemon[C]) offer(cmd *cobra.Command, ask ...func(context.Context, C) []string) []string {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background() //nolint:forbidigo // completion runs before any context is set
	}
	ctx, cancel := context.WithTimeout(parent, completeLimit)
	defer cancel()
	var out []string
	for _, f := range ask {
		out = append(out, f(ctx, d.client())...)
	}
	return out
}

func networkNames(ctx context.Context, c *api.Client) []string {
	ns, _ := c.Networks(ctx) // nothing to offer
	var out []string
	for _, n := range ns {
		out = append(out, orShort(n.Name, n.ID))
	}
	return out
}

func containerNames(ctx context.Context, c *api.Client) []string {
	es, _ := c.Endpoints(ctx) // nothing to offer
	var out []string
	for _, e := range es {
		out = append(out, orShort(e.Name, e.ID))
	}
	return out
}

func keptAddrs(ctx context.Context, c *api.Client) []string {
	ls, _ := c.Leases(ctx) // nothing to offer
	var out []string
	for _, l := range ls {
		if l.State == "kept" {
			out = append(out, l.Addr.String())
		}
	}
	return out
}

// orShort is a name, or a short id when none was learned.
func orShort(name, id string) string {
	if name != "" {
		return name
	}
	return id[:min(12, len(id))]
}
