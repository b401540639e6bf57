package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

func (c *cluster) serviceUpdate() *cobra.Command {
	u := &serviceUpdate{}
	cmd := &cobra.Command{
		Use: "update [OPTIONS] SERVICE [CONTAINER=IMAGE...]", Short: "Change a service; a new template comes to its sets few at a time",
		Args: between(1, "SERVICE", "CONTAINER=IMAGE..."), ValidArgsFunction: c.services,
		Long: "Change a service: single images, its whole file, or how updates go. Sets are changed few at a time, in place where they are, each when the one before is ready; where one does not get ready, all go back.",
		Example: "docker set service update web app=shop/app:42\n" +
			"docker set service update --partition 2 web app=shop/app:42",
	}
	f := cmd.Flags()
	f.StringVarP(&u.file, "file", "f", "", `File of the service or of a set that it is to be, "-" for standard input`)
	f.IntVar(&u.replicas, "replicas", 0, "How many sets")
	f.IntVar(&u.partition, "partition", 0, "How many sets stay as they are, for now")
	f.IntVar(&u.most, "max-unavailable", 0, "How many sets are changed at one time")
	var dry bool
	f.BoolVar(&dry, "dry-run", false, "Say which sets would be changed, and where more would go; change nothing")
	u.wait = waitFlags(cmd)
	_ = cmd.MarkFlagFilename("file", "json", "yaml", "yml") // the flag is there
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		change, err := u.change(cmd, args)
		if err != nil {
			return err
		}
		return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
			if dry {
				return forecastUpdate(ctx, cmd.OutOrStdout(), cl, args[0], change)
			}
			onFailed := false
			s, err := changeService(ctx, cl, args[0], func(s *api.Service) error {
				was := *s
				err := change(s)
				onFailed = err == nil && len(args) > 1 && u.file == "" && buildsOnFailed(&was, s, args[1:])
				return err
			})
			if err != nil {
				return err
			}
			if onFailed {
				remarkBy(cmd.ErrOrStderr(), "set", "the template of service %s that did not get ready is what this builds on: docker set service rollout undo %s takes all of it back", s.Name, s.Name)
			}
			u.wait.counts = f.Changed("replicas") && len(args) == 1 && u.file == "" && !f.Changed("partition") && !f.Changed("max-unavailable")
			if err := u.wait.done(ctx, cmd, cl, s); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), s.Name)
			return err
		})
	}
	return cmd
}

// changeService changes a service, again from the start if somebody else did meanwhile.
func changeService(ctx context.Context, cl *client.Client, name string, change func(*api.Service) error) (*api.Service, error) {
	const tries = 20
	for n := 1; ; n++ {
		s, err := client.Get[api.Service](ctx, cl, name)
		if err != nil {
			return nil, err
		}
		if err := change(s); err != nil {
			return nil, err
		}
		changed, err := client.Replace(ctx, cl, s, client.Change{})
		if err == nil || !errors.Is(err, errdefs.ErrAborted) || n == tries {
			return changed, err
		}
	}
}

type serviceUpdate struct {
	file                      string
	replicas, partition, most int
	wait                      *waiting
}

// change is what is to be done to the service.
func (u *serviceUpdate) change(cmd *cobra.Command, args []string) (func(*api.Service) error, error) {
	changed := cmd.Flags().Changed
	if len(args) == 1 && u.file == "" && !changed("replicas") && !changed("partition") && !changed("max-unavailable") {
		return nil, usage("%s changes nothing: give CONTAINER=IMAGE, -f FILE or an option", cmd.CommandPath())
	}
	var like *api.Service
	var ofSet bool
	if changed("max-unavailable") && u.most < 1 {
		return nil, usage("--max-unavailable: %d sets at one time would never be changed: say 1 or more", u.most)
	}
	if u.file != "" {
		var err error
		if like, ofSet, err = readService(cmd, u.file); err != nil {
			return nil, err
		}
	}
	for _, arg := range args[1:] {
		if container, image, ok := strings.Cut(arg, "="); !ok || container == "" || image == "" {
			return nil, usage("%q is not of the form CONTAINER=IMAGE", arg)
		}
	}
	return func(s *api.Service) error {
		switch {
		case ofSet:
			s.Spec.Set = like.Spec.Set
		case like != nil:
			s.Spec, s.Labels = like.Spec, like.Labels
		}
		if err := setImages(s.Name, &s.Spec.Set, args[1:]); err != nil {
			return err
		}
		if changed("replicas") {
			s.Spec.Replicas = u.replicas
		}
		if changed("partition") {
			s.Spec.Update.Partition = u.partition
		}
		if changed("max-unavailable") {
			s.Spec.Update.MaxUnavailable = u.most
		}
		return nil
	}, nil
}

// setImages gives containers of a service's template the images of CONTAINER=IMAGE.
func setImages(service string, t *api.Template, args []string) error {
	t.Containers = slices.Clone(t.Containers)
	for _, arg := range args {
		container, image, _ := strings.Cut(arg, "=")
		at := slices.IndexFunc(t.Containers, func(c spec.Container) bool { return c.Name == container })
		if at < 0 {
			return failure(errdefs.ErrNotFound, "service %s has no container %s", service, container)
		}
		t.Containers[at].Image = image
	}
	return nil
}

// buildsOnFailed says whether new images leave something in the template that was of one that did
// not get ready, and is not of that which runs.
func buildsOnFailed(was, is *api.Service, args []string) bool {
	if !was.TakenBack() || was.Status.Stable == nil {
		return false
	}
	of := was.Status.Stable.Set
	if setImages(was.Name, &of, args) != nil {
		return true
	}
	runs, err := spec.Marshal(&of.Set)
	if err != nil {
		return true
	}
	wished, err := spec.Marshal(&is.Spec.Set.Set)
	return err != nil || !bytes.Equal(runs, wished)
}
