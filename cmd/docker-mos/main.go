package main

import (
	"os"
	"path/filepath"

	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/internal/version"
)

func main() {
	if filepath.Base(os.Args[0]) == "docker-set" {
		os.Exit(run("set", func(docker command.Cli) *cobra.Command { return newSet(docker) }))
	}
	os.Exit(run("mos", func(command.Cli) *cobra.Command { return newMos() }))
}

// run hands a command to the docker CLI's plugin frame, which adds docker's
// global options and help, and returns the exit code.
func run(name string, cmd func(command.Cli) *cobra.Command) int {
	docker, err := command.NewDockerCli()
	if err == nil {
		err = plugin.RunPlugin(docker, cmd(docker), metadata.Metadata{
			SchemaVersion: "0.1.0",
			Vendor:        "MosDocker",
			Version:       version.String(),
			URL:           "https://github.com/mosdocker/mosdocker",
		})
	}
	return report(os.Stderr, name, err)
}
