package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
)

// revisionView is what docker set history prints in JSON.
type revisionView struct {
	Container string          `json:"container"`
	Revision  int             `json:"revision"`
	Current   bool            `json:"current"`
	Created   time.Time       `json:"created"`
	Image     string          `json:"image"`
	ImageID   string          `json:"imageID"`
	Change    string          `json:"change"`
	Spec      json.RawMessage `json:"spec"`
}

func revisionOf(r plan.Revision) revisionView {
	return revisionView{r.Member, r.Rev, r.Current, r.At, r.Image(), r.ImageID, r.Change, r.Spec}
}

func (s *sets) history() *cobra.Command {
	type r = plan.Revision
	l := &list[r]{
		object: func(x r) any {
			return revisionView{x.Member, x.Rev, x.Current, x.At, x.Image(), x.ImageID, x.Change, x.Spec}
		},
		columns: []column[r]{
			{name: "Container", header: "CONTAINER", value: func(x r) string { return x.Member }},
			{name: "Revision", header: "REVISION", value: func(x r) string { return strconv.Itoa(x.Rev) }},
			{name: "State", header: "STATE", value: func(x r) string {
				if x.Current {
					return "current"
				}
				return "-"
			}},
			{name: "Created", header: "CREATED", value: func(x r) string { return ago(x.At) }},
			{name: "Image", header: "IMAGE", value: func(x r) string { return x.Image() }},
			{name: "Change", header: "CHANGE", value: func(x r) string { return dash(x.Change) }},
			{name: "ImageID", header: "IMAGE ID", extra: true, value: func(x r) string { return x.ImageID }},
			{name: "Spec", header: "SPEC", extra: true, whole: true, value: func(x r) string { return string(x.Spec) }},
		},
	}
	cmd := &cobra.Command{
		Use: "history [OPTIONS] SET [CONTAINER...]", Short: "List what the containers of a set were before",
		Long: "Each container tells of the ten before it, newest first. docker set rollback takes one back.",
		Args: between(1, "SET", "CONTAINER..."), ValidArgsFunction: s.setThenMembers,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.check(); err != nil {
			return err
		}
		_, o, err := s.observe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if _, _, err := chosen(o, args[0], args[1:]); err != nil {
			return err
		}
		rows := plan.History(args[0], o)
		if len(args) > 1 {
			rows = slices.DeleteFunc(rows, func(x r) bool { return !slices.Contains(args[1:], x.Member) })
		}
		return l.print(cmd, rows)
	}
	l.flags(cmd)
	return cmd
}

func (s *sets) rollback() *cobra.Command {
	var renew bool
	cmd := s.onSet("rollback [OPTIONS] SET CONTAINER[=REVISION]...", "Make containers of a set again what they were before, in place", between(2, "SET", "CONTAINER[=REVISION]..."), func(a []string) (func(*setmgr.Manager) setmgr.Change, error) {
		to := map[string]int{}
		for _, arg := range a[1:] {
			name, text, given := strings.Cut(arg, "=")
			rev, err := strconv.Atoi(text)
			if name == "" || given && (err != nil || rev < 1) {
				return nil, usage("%q is not of the form CONTAINER or CONTAINER=REVISION; docker set history %s lists revisions", arg, a[0])
			}
			if _, twice := to[name]; twice {
				return nil, usage("container %s is given twice", name)
			}
			to[name] = rev
		}
		return func(m *setmgr.Manager) setmgr.Change { return m.Rollback(a[0], to, renew) }, nil
	})
	cmd.Long = "Without a number a container becomes what it was before its current revision. Its image is that of then, also where its name means another by now; its limits stay as they are. It is replaced as by docker set update."
	cmd.Example = "docker set rollback web app\ndocker set rollback web app=3 log=1"
	cmd.ValidArgsFunction = s.setThenRevisions
	cmd.Flags().BoolVarP(&renew, "renew-anon-volumes", "V", false, "Let containers that are replaced lose their unnamed volumes")
	return cmd
}
