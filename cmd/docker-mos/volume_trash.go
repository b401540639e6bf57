package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

func (v volume) trash() *cobra.Command {
	cmd := group("trash", "The recycle bin: volumes that were removed, until their time is over or space is needed")
	cmd.AddCommand(v.lsTrash(), v.restore(), v.purge())
	return cmd
}

func (v volume) lsTrash() *cobra.Command {
	at := func(t *time.Time, word func(time.Time) string) string {
		if t == nil {
			return "-"
		}
		return word(*t)
	}
	l := &list[vol]{
		id:    func(x vol) string { return x.ID },
		empty: "the recycle bin is empty",
		columns: append([]column[vol]{
			{name: "Name", header: "NAME", whole: true, value: func(x vol) string { return x.Name }},
			{name: "ID", header: "ID", value: func(x vol) string { return x.ID }},
			{name: "Type", header: "TYPE", value: func(x vol) string { return x.Type }},
			{name: "Size", header: "SIZE", value: func(x vol) string { return binary(x.Size) }},
			{name: "Allocated", header: "ALLOCATED", value: func(x vol) string { return binary(x.Allocated) }},
			{name: "Trashed", header: "REMOVED", value: func(x vol) string { return at(x.Trashed, ago) }},
			{name: "Expires", header: "PURGED", value: func(x vol) string { return at(x.Expires, until) }},
		}, trashExtras()...),
		filters: []filter[vol]{
			{"id", func(x vol, v string) bool { return sameRef(v, "", x.ID) }},
			byName(func(x vol) string { return x.Name }),
			{"type", func(x vol, v string) bool { return x.Type == v }},
			{"vg", func(x vol, v string) bool { return x.VG == v }},
		},
	}
	return listCommand(v.daemon, l, "ls", "List the recycle bin", (*lvm.Client).Trash)
}

// trashExtras are the extra columns of volumes that the recycle bin's table has
// not.
func trashExtras() []column[vol] {
	var out []column[vol]
	for _, c := range volumeExtras() {
		if c.name != "ID" && c.name != "Allocated" {
			out = append(out, c)
		}
	}
	return out
}

// until is a time to come, in docker's words.
func until(t time.Time) string {
	left := time.Until(t)
	if left <= 0 {
		return "now"
	}
	return "in " + units.HumanDuration(left)
}

func (v volume) restore() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:     "restore [OPTIONS] VOLUME",
		Short:   "Bring a volume back from the recycle bin",
		Long:    "Where several volumes had that name, give the id of one: docker mos volume trash ls lists them.",
		Example: "docker mos volume trash restore data\ndocker mos volume trash restore --as data-again data",
		Args:    exactly("VOLUME"), ValidArgsFunction: v.names(1, trashedNames),
	}
	cmd.Flags().StringVar(&as, "as", "", "New name, instead of the old one")
	ch := v.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return ch.run(cmd, args, func(ctx context.Context, c *lvm.Client, ref string) (lvm.Plan, string, error) {
			p, err := c.Restore(ctx, lvm.RestoreRequest{Volume: ref, As: as, DryRun: ch.dry})
			return p, named(p, ref), lost(err, trashListed)
		})
	}
	return cmd
}

func (v volume) purge() *cobra.Command {
	var r lvm.PurgeRequest
	var force bool
	cmd := &cobra.Command{
		Use:   "purge [OPTIONS] VOLUME...|--all",
		Short: "Remove volumes from the recycle bin for good",
		Long: "Names and ids are understood; a name means all volumes that had it. On a terminal it asks first unless --force is given; " +
			"elsewhere it does not ask, and --all needs --force.",
		Example: "docker mos volume trash purge data\ndocker mos volume trash purge --all --force",
		Args:    between(0, "VOLUME..."), ValidArgsFunction: v.names(0, trashedNames),
	}
	cmd.Flags().BoolVar(&r.All, "all", false, "Purge all that is in the recycle bin")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not ask")
	ch := v.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case r.All && len(args) > 0:
			return usage("%s takes volumes or --all, not both", cmd.CommandPath())
		case !r.All && len(args) == 0:
			return usage("%s needs volumes or --all", cmd.CommandPath())
		}
		r.Volumes, r.DryRun = args, ch.dry
		names, err := v.agreed(cmd, r, force || ch.dry)
		if err != nil || names == nil {
			return err
		}
		p := newProgress(cmd)
		return ch.run(cmd, []string{strings.Join(names, "\n")}, func(ctx context.Context, c *lvm.Client, lines string) (lvm.Plan, string, error) {
			plan, err := c.Purge(ctx, r, p.daemon)
			return plan, lines, lost(err, trashListed)
		})
	}
	return cmd
}

// agreed gives the names of the volumes that may go for good, none when there is
// nothing to purge. Unless that is sure it asks; nobody can be asked where there
// is no terminal: names are meant as they are given there, all is not.
func (v volume) agreed(cmd *cobra.Command, r lvm.PurgeRequest, sure bool) ([]string, error) {
	asks := !sure && terminal(cmd.InOrStdin())
	if !r.All && !asks {
		return r.Volumes, nil
	}
	names, err := v.doomed(cmd, r)
	switch {
	case err != nil:
		return nil, err
	case names == nil && r.All:
		remark(cmd.ErrOrStderr(), "the recycle bin is empty")
		return nil, nil
	case !sure && !asks:
		return nil, hinted(failure(errdefs.ErrFailedPrecondition, "the recycle bin is not emptied: nobody can be asked here"), "give --force, since what is purged does not come back")
	case names != nil && asks:
		err = confirm(cmd, "These volumes are removed for good: "+strings.Join(names, ", "), "nothing was purged")
	}
	if !r.All {
		names = r.Volumes
	}
	return names, err
}

// doomed lists the names of volumes that a purge would remove, each as often as
// there are volumes that had it.
func (v volume) doomed(cmd *cobra.Command, r lvm.PurgeRequest) ([]string, error) {
	all, err := ask(v.daemon, cmd, (*lvm.Client).Trash)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, x := range *all {
		if r.All || slices.ContainsFunc(r.Volumes, func(ref string) bool { return sameRef(ref, x.Name, x.ID) }) {
			out = append(out, x.Name)
		}
	}
	return out, nil
}

// confirm says what is about to happen and asks whether it may; the error of class
// Aborted is what follows from a no.
func confirm(cmd *cobra.Command, what, refused string) error {
	_, err := fmt.Fprintf(cmd.ErrOrStderr(), "%s\nContinue? [y/N] ", what)
	if err != nil {
		return err
	}
	answer := make(chan string, 1)
	go func() { // reading cannot be interrupted; the process ends with it
		line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n') // an end is no yes
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
	case <-cmd.Context().Done():
	}
	return failure(errdefs.ErrAborted, "%s", refused)
}
