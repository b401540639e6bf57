package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// setView is what docker set inspect prints. Spec is as a user writes it.
type setView struct {
	Spec       any             `json:"spec"`
	State      setRow          `json:"state"`
	Cap        limitView       `json:"cap"`
	CapNote    string          `json:"capNote,omitempty"`
	Parent     string          `json:"cgroupParent"`
	Containers []containerView `json:"containers"`
}

// limitView is amounts of cores and bytes, 0 is no limit.
type limitView struct {
	CPU float64 `json:"cpu"`
	MEM uint64  `json:"memory"`
}

// containerView is one container as docker set ps prints it in JSON, and inspect with
// its Spec and History.
type containerView struct {
	ID            string              `json:"id"`
	Name          string              `json:"name"`
	Container     string              `json:"container"` // in its set
	Index         int                 `json:"index"`
	Revision      int                 `json:"revision,omitempty"`
	Image         string              `json:"image"`
	ImageID       string              `json:"imageID"`
	State         plan.State          `json:"state"`
	Health        string              `json:"health,omitempty"`
	Ready         bool                `json:"ready"`
	CutOff        bool                `json:"cutOff,omitempty"` // from the set's network
	ExitCode      int                 `json:"exitCode"`
	OOM           bool                `json:"oomKilled"`
	Error         string              `json:"error,omitempty"`
	Created       time.Time           `json:"created"`
	Started       time.Time           `json:"started,omitzero"`
	Finished      time.Time           `json:"finished,omitzero"`
	Restarts      int                 `json:"restarts"`
	RestartPolicy string              `json:"restartPolicy"`
	PID           int                 `json:"pid"`
	Limits        limitView           `json:"limits"`
	Unnamed       []string            `json:"unnamedVolumes,omitempty"` // paths
	Networks      map[string]addrView `json:"networks,omitempty"`
	Spec          json.RawMessage     `json:"spec,omitempty"`
	History       []revisionView      `json:"history,omitempty"` // the newest first, without the current one
}

type addrView struct {
	ID  string `json:"id"`
	IP  string `json:"ip"`
	IP6 string `json:"ip6,omitempty"`
	MAC string `json:"mac"`
}

func viewOf(c plan.Container) containerView {
	v := containerView{
		ID: c.ID, Name: c.Name, Container: memberOf(c), Index: c.Index, Revision: c.Rev, Image: c.Image, ImageID: c.ImageID,
		State: c.State, Health: c.Health, Ready: c.Serves(), CutOff: c.Stranded, ExitCode: c.ExitCode, OOM: c.OOM, Error: c.Failed,
		Created: c.Created, Started: c.Started, Finished: c.Finished, Restarts: c.Restarts, RestartPolicy: c.Restart, PID: c.PID,
		Limits: limitView{float64(c.Limits.CPU), uint64(c.Limits.MEM)}, Unnamed: c.Unnamed,
	}
	for name, n := range c.Nets {
		if v.Networks == nil {
			v.Networks = map[string]addrView{}
		}
		v.Networks[name] = addrView(n)
	}
	return v
}

// whole is viewOf with what the labels tell.
func whole(c plan.Container, past []plan.Revision) containerView {
	v := viewOf(c)
	if json.Valid([]byte(c.Spec)) {
		v.Spec = json.RawMessage(c.Spec)
	}
	for _, r := range past {
		if r.Member == c.Member && !r.Current {
			v.History = append(v.History, revisionOf(r))
		}
	}
	return v
}

func (s *sets) inspect() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "inspect [OPTIONS] SET", Short: "Print all that is known of a set", Args: exactly("SET"), ValidArgsFunction: s.oneSet}
	formatFlag(cmd, &format, "", `"json" for one line, or a Go template over the JSON's fields such as {{.state.ip}}`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := inspector(format)
		if err != nil {
			return err
		}
		_, o, err := s.observe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		v := setView{State: rowOf(args[0], o), Cap: limitView{float64(o.Cap.CPU), uint64(o.Cap.MEM)}, CapNote: o.CanCap, Parent: render.Parent(o.Facts, args[0])}
		past := plan.History(args[0], o)
		for _, c := range all(o) {
			v.Containers = append(v.Containers, whole(c, past))
		}
		if set, err := plan.Spec(o, args[0]); err == nil {
			data, err := spec.Marshal(&set)
			if err != nil {
				return err
			}
			v.Spec = json.RawMessage(data)
		}
		return write(cmd.OutOrStdout(), []any{v})
	}
	return cmd
}
