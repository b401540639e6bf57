package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/internal/version"
	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/mosbridge/api"
)

// versions is what `version --format` sees. A daemon that does not answer is
// nil.
type versions struct {
	Client    string      `json:"client"`
	Mosbridge *api.Status `json:"mosbridge"`
	MosLVM    *lvm.Status `json:"mosLvm"`
}

func (a *app) version() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the versions of this command and of the daemons",
		Args:  exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&strict, "daemon", false, "Fail when mosbridge does not answer, or mos-lvm where it is installed")
	format := textFormat(cmd, a.printVersions)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		write, err := format()
		if err != nil {
			return err
		}
		v := versions{Client: version.String()}
		var silent []error
		if v.Mosbridge, err = ask(a.bridge, cmd, (*api.Client).Status); err != nil {
			silent = append(silent, err)
		}
		if v.MosLVM, err = ask(a.lvm, cmd, (*lvm.Client).Status); err != nil && a.lvm.installed() {
			silent = append(silent, err)
		}
		if err := write(cmd.OutOrStdout(), v); err != nil {
			return err
		}
		for i, err := range silent {
			if strict && i == len(silent)-1 {
				return err
			}
			remarkOn(cmd.ErrOrStderr(), err)
		}
		return nil
	}
	return cmd
}

func (a *app) printVersions(w io.Writer, v versions) error {
	bridge, volumes := "does not answer", "does not answer"
	if v.Mosbridge != nil {
		bridge = v.Mosbridge.Version
	}
	switch {
	case v.MosLVM != nil:
		volumes = v.MosLVM.Version
	case !a.lvm.installed():
		volumes = "not installed here"
	}
	_, err := fmt.Fprintf(w, "docker mos: %s\nmosbridge:  %s\nmos-lvm:    %s\n", v.Client, bridge, volumes)
	return err
}
