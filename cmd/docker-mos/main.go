package main

import (
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/internal/version"
)

func main() {
	cmd := newMos()
	if filepath.Base(os.Args[0]) == "docker-set" {
		cmd = newSet()
	}
	os.Exit(run(cmd))
}

// run hands the command to the docker CLI's plugin frame, which adds docker's
// global options and help, and returns the exit code.
func run(cmd *cobra.Command) int {
	docker, err := command.NewDockerCli()
	if err == nil {
		err = plugin.RunPlugin(docker, cmd, metadata.Metadata{
			SchemaVersion: "0.1.0",
			Vendor:        "MosDocker",
			Version:       version.String(),
			URL:           "https://github.com/mosdocker/mosdocker",
		})
	}
	return report(os.Stderr, cmd.Name(), err)
}

// newSet refuses the verbs of the set manager.
func newSet() *cobra.Command {
	return &cobra.Command{
		Use:                "set",
		Short:              "Sets of containers (not available yet)",
		DisableFlagParsing: true,
		PersistentPreRunE:  func(*cobra.Command, []string) error { return nil },
		RunE: func(*cobra.Command, []string) error {
			return failure(errdefs.ErrNotImplemented, "docker set is not available yet")
		},
	}
}
