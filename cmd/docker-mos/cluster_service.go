package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/setmgr/file"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

func (c *cluster) service() *cobra.Command {
	cmd := c.group("service", "Services: sets that a scheduler keeps on many hosts")
	cmd.AddCommand(c.serviceCreate(), c.serviceLs(), c.servicePs(), c.serviceInspect(), c.serviceScale(), c.serviceUpdate(), c.serviceRm(),
		c.rollout(), c.serviceEvents(), c.serviceLogs(), c.serviceExec(), c.serviceTop(), c.serviceStats())
	return cmd
}

// readService reads a file of a service, or of a set, whose name is then the service's.
func readService(cmd *cobra.Command, path string) (s *api.Service, ofSet bool, err error) {
	var data []byte
	if path == "-" {
		data, err = io.ReadAll(cmd.InOrStdin())
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, false, err
	}
	var top map[string]any
	if err := yaml.Unmarshal(data, &top); err != nil {
		return nil, false, failure(errdefs.ErrInvalidArgument, "%s: it is neither JSON nor YAML: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if _, isSet := top["Containers"]; isSet {
		set, err := readSet(path, data)
		if err != nil {
			return nil, false, err
		}
		s = &api.Service{Meta: api.Meta{Name: set.Name}, Spec: api.ServiceSpec{Replicas: 1, Set: api.Template{Set: *set}}}
		s.Spec.Set.Name = ""
		return s, true, nil
	}
	if data, err = json.Marshal(top); err != nil {
		return nil, false, failure(errdefs.ErrInvalidArgument, "%s: %s", path, err)
	}
	s = &api.Service{}
	if err := api.Decode(data, s); err != nil {
		return nil, false, failure(errdefs.ErrInvalidArgument, "%s: %s", path, strings.ReplaceAll(err.Error(), "\n", "\n"+path+": "))
	}
	return s, false, nil
}

// readSet reads a set with what is in the files that it names.
func readSet(path string, data []byte) (*spec.Set, error) {
	if path == "-" {
		path = "stdin"
	}
	set, sources, err := file.Parse(path, data)
	if err == nil && len(sources) > 0 {
		err = failure(errdefs.ErrNotImplemented, "%s: the set puts files of this machine into its containers (%s), which a scheduler does not carry", path, strings.Join(slices.Sorted(maps.Keys(sources)), ", "))
	}
	return set, err
}

func (c *cluster) serviceCreate() *cobra.Command {
	var path, name string
	var replicas int
	var dry bool
	cmd := &cobra.Command{
		Use: "create [OPTIONS] -f FILE", Short: "Make a service", Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
		Long: "Make a service from a file, JSON or YAML: that of a service, or that of a set as docker set up takes it, whose name is then the service's. It is made when all its sets are ready, or --timeout is over.",
		Example: "docker set service create -f service.json\n" +
			"docker set service create -f web.json --replicas 3",
	}
	cmd.Flags().StringVarP(&path, "file", "f", "", `File of the service or of a set, "-" for standard input`)
	cmd.Flags().StringVar(&name, "name", "", "Name, instead of the file's")
	cmd.Flags().IntVar(&replicas, "replicas", 0, "How many sets, instead of the file's number")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Say where its sets would go, and make nothing")
	w := waitFlags(cmd)
	_ = cmd.MarkFlagFilename("file", "json", "yaml", "yml") // the flag is there
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if path == "" {
			return usage("%s needs -f FILE", cmd.CommandPath())
		}
		s, _, err := readService(cmd, path)
		if err != nil {
			return err
		}
		s.Name = cmp.Or(name, s.Name)
		if cmd.Flags().Changed("replicas") {
			s.Spec.Replicas = replicas
		}
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			if dry {
				f, err := cl.Plan(ctx, s)
				if err != nil {
					return err
				}
				return printForecast(cmd.OutOrStdout(), f)
			}
			s.Revision = 0
			made, err := client.Create(ctx, cl, s, client.Change{})
			if err != nil {
				return err
			}
			if err := w.done(ctx, cmd, cl, made); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), made.Name)
			return err
		})
	}
	return cmd
}

// printForecast prints where sets would go. Sets that no host takes are bad news.
func printForecast(w io.Writer, f *api.Forecast) error {
	for _, u := range f.Updates {
		how := "changed in place"
		if u.Leaves != "" {
			how = "leaves it: " + u.Leaves
		}
		if _, err := fmt.Fprintf(w, "%s on %s, %s\n", u.Set, u.Host, how); err != nil {
			return err
		}
	}
	for _, p := range f.Placed {
		if _, err := fmt.Fprintf(w, "%s on %s\n", p.Set, p.Host); err != nil {
			return err
		}
	}
	if f.Unplaced == 0 {
		return nil
	}
	why := ""
	if f.Why != nil {
		why = ": " + f.Why.Sentence
	}
	if _, err := fmt.Fprintf(w, "no host for %d more%s\n", f.Unplaced, why); err != nil {
		return err
	}
	return errBadNews
}

func (c *cluster) serviceLs() *cobra.Command {
	type row = *api.Service
	l := &list[row]{
		id: func(s row) string { return s.Name }, named: true, empty: "no services: docker set service create -f FILE makes one",
		columns: []column[row]{
			{name: "Name", header: "NAME", value: func(s row) string { return s.Name }},
			{name: "State", header: "STATE", value: serviceState},
			{name: "Ready", header: "READY", value: func(s row) string { return fmt.Sprintf("%d/%d", s.Status.Ready, s.Spec.Replicas) }},
			{name: "Updated", header: "UPDATED", value: func(s row) string { return fmt.Sprintf("%d/%d", s.Status.Updated, s.Spec.Replicas) }},
			{name: "Images", header: "IMAGES", value: func(s row) string { return images(goal(s).Set) }},
			{name: "Created", header: "CREATED", value: func(s row) string { return ago(s.Created) }},
			{name: "Reason", header: "REASON", extra: true, value: func(s row) string { return dash(s.Status.Reason) }},
			{name: "Generation", header: "GENERATION", extra: true, value: func(s row) string { return strconv.FormatInt(s.Generation, 10) }},
		},
		filters: []filter[row]{
			byName(func(s row) string { return s.Name }),
			{key: "state", matches: func(s row, v string) bool { return serviceState(s) == v }},
			labelFilter(func(s row) map[string]string { return s.Labels }),
		},
		values: map[string][]string{"state": {"ready", "updating", "waiting", "paused", "failed", "leaving"}},
	}
	cmd := &cobra.Command{Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List services", Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions}
	return clusterList(c, cmd, l, func(ctx context.Context, cl *client.Client) ([]row, error) {
		page, err := client.List[api.Service](ctx, cl, client.Filter{})
		return page.Items, err
	})
}

// serviceState is a service in one word.
func serviceState(s *api.Service) string {
	ok, _ := s.AsWished()
	switch {
	case !s.Deleted.IsZero():
		return "leaving"
	case s.Status.Failed != "":
		return "failed"
	case s.Held(), !ok && s.Spec.Update.Paused:
		return "paused"
	case ok:
		return "ready"
	case s.Status.Updated < s.Status.Replicas:
		return "updating"
	}
	return "waiting"
}

// goal is the template that the sets of a service are of, or become.
func goal(s *api.Service) api.Template {
	if s.Status.Stable != nil && s.TakenBack() {
		return s.Status.Stable.Set
	}
	return s.Spec.Set
}

func images(set spec.Set) string {
	var all []string
	for _, c := range set.Containers {
		if !slices.Contains(all, c.Image) {
			all = append(all, c.Image)
		}
	}
	return dash(strings.Join(all, ","))
}

func labelFilter[T any](labels func(T) map[string]string) filter[T] {
	return filter[T]{key: "label", matches: func(t T, v string) bool {
		key, value, valued := strings.Cut(v, "=")
		got, ok := labels(t)[key]
		return ok && (!valued || got == value)
	}}
}

// clusterList makes a command one that lists what is asked of a cluster.
func clusterList[T any](c *cluster, cmd *cobra.Command, l *list[T], ask func(context.Context, *client.Client) ([]T, error)) *cobra.Command {
	return clusterListOf(c, cmd, l, func(ctx context.Context, cl *client.Client, _ []string) ([]T, error) { return ask(ctx, cl) })
}

func clusterListOf[T any](c *cluster, cmd *cobra.Command, l *list[T], ask func(context.Context, *client.Client, []string) ([]T, error)) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.check(); err != nil {
			return err
		}
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			rows, err := ask(ctx, cl, args)
			if err != nil {
				return err
			}
			return l.print(cmd, rows)
		})
	}
	l.flags(cmd)
	return cmd
}

// addressesOf are those that the cluster gave a set, or that its template names.
func addressesOf(s *api.SetInstance) string {
	var out []string
	for _, a := range s.Spec.Addresses {
		out = append(out, a.Address)
	}
	return strings.Join(out, ",")
}

func (c *cluster) servicePs() *cobra.Command {
	type row = *api.SetInstance
	l := &list[row]{
		id: func(s row) string { return s.Name }, named: true,
		columns: []column[row]{
			{name: "Name", header: "NAME", value: func(s row) string { return s.Name }},
			{name: "Host", header: "HOST", value: func(s row) string { return dash(s.Spec.Host) }},
			{name: "Phase", header: "PHASE", value: func(s row) string { return cmp.Or(string(s.Status.Phase), "waiting") }},
			{name: "Since", header: "SINCE", value: func(s row) string { return ago(s.Status.Since) }},
			{name: "Generation", header: "GENERATION", value: func(s row) string { return strconv.FormatInt(s.Spec.ServiceGeneration, 10) }},
			{name: "Images", header: "IMAGES", value: func(s row) string { return images(s.Spec.Set.Set) }},
			{name: "Message", header: "MESSAGE", value: func(s row) string { return dash(s.Status.Message) }},
			{name: "Service", header: "SERVICE", extra: true, value: func(s row) string { return s.Spec.Service }},
			{name: "Addresses", header: "ADDRESSES", extra: true, value: func(s row) string { return dash(addressesOf(s)) }},
		},
		filters: []filter[row]{
			byName(func(s row) string { return s.Name }),
			{key: "host", matches: func(s row, v string) bool { return s.Spec.Host == v }},
			{key: "phase", matches: func(s row, v string) bool { return cmp.Or(string(s.Status.Phase), "waiting") == v }},
		},
		values: map[string][]string{"phase": {"waiting", "starting", "running", "ready", "failed", "stopped"}},
	}
	cmd := &cobra.Command{
		Use: "ps [OPTIONS] [SERVICE]", Short: "List the sets of a service, or of all, and their hosts", Args: between(0, "SERVICE"),
		ValidArgsFunction: c.services,
	}
	return clusterListOf(c, cmd, l, func(ctx context.Context, cl *client.Client, args []string) ([]row, error) {
		f := client.Filter{}
		if len(args) > 0 {
			f.Service = args[0]
			if _, err := client.Get[api.Service](ctx, cl, f.Service); err != nil {
				return nil, err
			}
		}
		page, err := client.List[api.SetInstance](ctx, cl, f)
		slices.SortStableFunc(page.Items, func(a, b row) int {
			return cmp.Or(cmp.Compare(a.Spec.Service, b.Spec.Service), cmp.Compare(a.Spec.Slot, b.Spec.Slot))
		})
		return page.Items, err
	})
}

// clusterInspect is a command that shows all of resources by their names.
func clusterInspect[T any, R interface {
	*T
	api.Resource
}](c *cluster, use, short string, names completion) *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: use, Short: short, Args: exactly(strings.Fields(use)[2]), ValidArgsFunction: names}
	formatFlag(cmd, &format, "", `"json" for one line, or a Go template over the JSON's fields`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := inspector(format)
		if err != nil {
			return err
		}
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			return inspectEach(cmd.OutOrStdout(), write, args, func(name string) ([]any, error) {
				r, err := client.Get[T, R](ctx, cl, name)
				if err != nil {
					return nil, err
				}
				return []any{r}, nil
			})
		})
	}
	return cmd
}

func (c *cluster) serviceInspect() *cobra.Command {
	return clusterInspect[api.Service](c, "inspect [OPTIONS] SERVICE...", "Show all of services", c.services)
}

func (c *cluster) serviceScale() *cobra.Command {
	cmd := &cobra.Command{
		Use: "scale [OPTIONS] SERVICE=NUMBER...", Short: "Change how many sets services have", Args: exactly("SERVICE=NUMBER..."),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			names, how := c.services(cmd, args, "")
			for i, n := range names {
				names[i] = n + "="
			}
			return names, how | cobra.ShellCompDirectiveNoSpace
		},
	}
	var dry bool
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Say where more sets would go, and change nothing")
	w := waitFlags(cmd)
	w.counts = true
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, arg := range args {
			if _, _, err := scaled(arg); err != nil {
				return err
			}
		}
		if dry {
			return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
				return each(args, func(arg string) error { return forecastScale(ctx, cmd.OutOrStdout(), cl, arg) })
			})
		}
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, arg string) error {
			name, n, _ := scaled(arg)
			s, err := client.Patch[api.Service](ctx, cl, name, wish("replicas", n), client.Change{})
			if err != nil {
				return err
			}
			return w.done(ctx, cmd, cl, s)
		})
	}
	return cmd
}

// forecastScale says what would become of a service of another number of sets.
func forecastScale(ctx context.Context, out io.Writer, cl *client.Client, arg string) error {
	name, n, _ := scaled(arg)
	return forecastUpdate(ctx, out, cl, name, func(s *api.Service) error { s.Spec.Replicas = n; return nil })
}

// forecastUpdate says what would become of a service that is changed.
func forecastUpdate(ctx context.Context, out io.Writer, cl *client.Client, name string, change func(*api.Service) error) error {
	s, err := client.Get[api.Service](ctx, cl, name)
	if err != nil {
		return err
	}
	had := s.Spec.Replicas
	if err := change(s); err != nil {
		return err
	}
	f, err := cl.Plan(ctx, s)
	if err != nil {
		return err
	}
	if fewer := had - s.Spec.Replicas; fewer > 0 {
		_, err = fmt.Fprintf(out, "%s: %d sets fewer\n", name, fewer)
	} else if fewer == 0 && len(f.Updates)+len(f.Placed)+f.Unplaced == 0 {
		_, err = fmt.Fprintf(out, "%s: no set is changed\n", name)
	}
	return errors.Join(err, printForecast(out, f))
}

func scaled(arg string) (string, int, error) {
	name, number, ok := strings.Cut(arg, "=")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || name == "" {
		return "", 0, usage("%q is not of the form SERVICE=NUMBER", arg)
	}
	return name, n, nil
}

// wish is a patch of one member of a spec.
func wish(key string, value any) map[string]any {
	return map[string]any{"spec": map[string]any{key: value}}
}

func (c *cluster) serviceRm() *cobra.Command {
	w := &waiting{}
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] SERVICE...", Aliases: []string{"remove"}, Short: "Remove services and their sets; volumes stay on their hosts",
		Args: exactly("SERVICE..."), ValidArgsFunction: c.services,
	}
	cmd.Flags().BoolVarP(&w.detach, "detach", "d", false, "Do not wait until all sets are gone")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 2*time.Minute, "How long to wait until all sets are gone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
			s, err := client.Delete[api.Service](ctx, cl, name)
			if err != nil || w.detach {
				return err
			}
			return w.gone(ctx, cl, s)
		})
	}
	return cmd
}

// gone waits until nothing of a service is left.
func (w *waiting) gone(ctx context.Context, cl *client.Client, s *api.Service) error {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	var err error
	for _, err = range follow(ctx, cl, s) {
		if err != nil {
			break
		}
	}
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case ctx.Err() != nil:
		return hinted(failure(errdefs.ErrUnavailable, "service %s is not gone within %s", s.Name, w.timeout), "the scheduler goes on: docker set service ps "+s.Name+" says what is left")
	}
	return err
}
