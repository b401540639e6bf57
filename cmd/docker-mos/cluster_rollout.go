package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

func (c *cluster) rollout() *cobra.Command {
	cmd := group("rollout", "How a new template comes to the sets of a service")
	pause := func(use, short string, paused any) *cobra.Command {
		cmd := &cobra.Command{Use: use + " SERVICE...", Short: short, Args: exactly("SERVICE..."), ValidArgsFunction: c.services}
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
				_, err := client.Patch[api.Service](ctx, cl, name, wish("update", map[string]any{"paused": paused}), client.Change{})
				return err
			})
		}
		return cmd
	}
	cmd.AddCommand(c.rolloutStatus(), pause("pause", "Change no more sets for now", true), pause("resume", "Go on changing sets", nil), c.rolloutUndo())
	return cmd
}

func (c *cluster) rolloutStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status [OPTIONS] SERVICE", Short: "Say how far an update is; exit code 1 says that it is not done", Args: exactly("SERVICE"), ValidArgsFunction: c.services,
	}
	var wait time.Duration
	cmd.Flags().DurationVar(&wait, "wait", 0, "Wait so long for its end")
	format := textFormat(cmd, printRollout)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := format()
		if err != nil {
			return err
		}
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			s, err := client.Get[api.Service](ctx, cl, args[0])
			if err == nil && wait > 0 {
				_ = (&waiting{timeout: wait}).done(ctx, cmd, cl, s) // what it says follows
				s, err = client.Get[api.Service](ctx, cl, args[0])
			}
			if err != nil {
				return err
			}
			if err := write(cmd.OutOrStdout(), s); err != nil {
				return err
			}
			if ok, _ := s.AsWished(); !ok || s.Held() {
				return errBadNews
			}
			return nil
		})
	}
	return cmd
}

func printRollout(w io.Writer, s *api.Service) error {
	ok, why := s.AsWished()
	if ok && s.Held() {
		why = paused(s)
	}
	_, err := fmt.Fprintf(w, "%s: %s, generation %d, %d of %d sets updated, %d ready\n", s.Name, serviceState(s), s.Generation, s.Status.Updated, s.Spec.Replicas, s.Status.Ready)
	if err == nil && why != "" {
		_, err = fmt.Fprintf(w, "  %s\n", why)
	}
	return err
}

func (c *cluster) rolloutUndo() *cobra.Command {
	cmd := &cobra.Command{
		Use: "undo [OPTIONS] SERVICE", Short: "Go back to the template that was ready before", Args: exactly("SERVICE"), ValidArgsFunction: c.services,
	}
	w := waitFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
			s, err := changeService(ctx, cl, name, undo)
			if err != nil {
				return err
			}
			return w.done(ctx, cmd, cl, s)
		})
	}
	return cmd
}

// undo makes the template of a service the last one that was ready and is another.
func undo(s *api.Service) error {
	now, err := spec.Marshal(&s.Spec.Set.Set)
	if err != nil {
		return err
	}
	for _, v := range []*api.Version{s.Status.Stable, s.Status.Previous} {
		if v == nil {
			continue
		}
		before, err := spec.Marshal(&v.Set.Set)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, before) {
			s.Spec.Set = v.Set
			s.Spec.Update.Paused = false
			return nil
		}
	}
	return failure(errdefs.ErrFailedPrecondition, "service %s has no template before this one to go back to", s.Name)
}

func (c *cluster) serviceEvents() *cobra.Command {
	cmd := &cobra.Command{
		Use: "events [OPTIONS] [SERVICE]", Short: "Show what happened to services, their sets and hosts, and why", Args: between(0, "SERVICE"), ValidArgsFunction: c.services,
	}
	var follow bool
	cmd.Flags().BoolVar(&follow, "follow", false, "Go on with what happens")
	format := textFormat(cmd, printClusterEvent)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := format()
		if err != nil {
			return err
		}
		wanted := func(e *api.Event) bool {
			if len(args) == 0 {
				return true
			}
			on := e.Spec.On
			return on.Kind == api.Services && on.Name == args[0] || on.Kind == api.SetInstances && strings.HasPrefix(on.Name, args[0]+"-")
		}
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			page, err := client.List[api.Event](ctx, cl, client.Filter{})
			if err != nil {
				return err
			}
			slices.SortStableFunc(page.Items, func(a, b *api.Event) int {
				return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
			})
			if len(args) > 0 && !slices.ContainsFunc(page.Items, wanted) { // else it may be removed
				if _, err := client.Get[api.Service](ctx, cl, args[0]); err != nil {
					return err
				}
			}
			for _, e := range page.Items {
				if wanted(e) {
					if err := write(cmd.OutOrStdout(), e); err != nil {
						return err
					}
				}
			}
			if !follow {
				return nil
			}
			for told, err := range client.Watch[api.Event](ctx, cl, page.Revision) {
				if err == nil && told.What == api.Added && wanted(told.Object) {
					err = write(cmd.OutOrStdout(), told.Object)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

func printClusterEvent(w io.Writer, e *api.Event) error {
	line := fmt.Sprintf("%s %s/%s %s", e.Created.Format("2006-01-02T15:04:05.000Z07:00"), e.Spec.On.Kind, e.Spec.On.Name, e.Spec.What)
	if e.Spec.Text != "" {
		line += " " + e.Spec.Text
	}
	if e.Spec.Cause != "" {
		line += " (" + e.Spec.Cause + ")"
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// points are those of a score, which counts millionths.
func points[N int | int64](score N) float64 { return float64(score) / 1e6 }

// pulls says what a host has to pull of images.
func pulls(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return ", " + binary(uint64(bytes)) + " to pull"
}

func printPlacement(w io.Writer, e *api.Explanation) error {
	var b strings.Builder
	fmt.Fprintln(&b, e.Sentence)
	for _, f := range e.Filters {
		fmt.Fprintf(&b, "  %s rejects %d of %d hosts", f.Filter, f.Rejects, e.Hosts)
		if f.Alone > 0 {
			fmt.Fprintf(&b, ", %d alone", f.Alone)
		}
		if f.Note != "" {
			fmt.Fprintf(&b, ": %s", f.Note)
		}
		b.WriteByte('\n')
	}
	for i, best := range e.Best {
		fmt.Fprintf(&b, "  %d. %s, %.2f points%s\n", i+1, best.Host, points(best.Score), pulls(best.Pull))
	}
	if h := e.Host; h != nil {
		if len(h.Reasons) == 0 {
			fmt.Fprintf(&b, "host %s takes it, %.2f points%s\n", h.Host, points(h.Score), pulls(h.Pull))
		}
		for _, r := range h.Reasons {
			fmt.Fprintf(&b, "host %s does not take it: %s: %s\n", h.Host, r.Filter, r.Text)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
