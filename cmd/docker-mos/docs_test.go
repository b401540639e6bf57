package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// TestDocs keeps docs/cli.md in step with the commands; -update writes it.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString("# The docker mos and docker set commands\n\n" +
		"Printed from the commands by `go test ./cmd/docker-mos -run TestDocs -update`.\n\n" +
		"Results go to standard output; errors (`docker mos: error: …`), what to do about them (`hint: …`) and remarks go to standard error. " +
		"What takes long says on standard error how far it is, when that is a terminal. " +
		"Exit code 0 is well, 1 an error or an answer that is bad news (a dropped packet, a failed check, a finding), 2 a command line that cannot be understood, 128 and its number the end by a signal (130 for Ctrl-C); a command line that is refused has an error that names the command's own `--help`. " +
		"Names of networks, containers and volumes, ids and their beginnings are understood alike, and are completed by the shell where `docker completion` is set up.\n\n" +
		"What changes volumes takes `--dry-run`: its steps are listed, and nothing is done.\n\n" +
		"Lists take `--format table`, `--format 'table {{.Name}}\\t{{.MAC}}'`, `--format '{{.Name}}'` and `--format json`, which prints one object of the admin API, of [networks](../mosbridge/api/types.go) or of [volumes](../lvmvolume/api/types.go), a line: " +
		"rates of networks are in bits per second there, sizes and rates of volumes in bytes, 0 for none. Values of one `--filter` key are joined by *or*, keys by *and*.\n")
	mos, set := newMos(), newSet(nil)
	root := &cobra.Command{Use: "docker"} // so that paths begin as users type them
	root.AddCommand(mos, set)
	manual(&b, mos)
	manual(&b, set)
	testx.Golden(t, "../../../docs/cli.md", b.String())
}

func manual(b *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n", cmd.CommandPath())
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	b.WriteString(long + "\n")
	if use := cmd.UseLine(); strings.Contains(cmd.Use, " ") {
		fmt.Fprintf(b, "\n    %s\n", strings.TrimSuffix(use, " [flags]"))
	}
	if cmd.Example != "" {
		b.WriteString("\n    $ " + strings.ReplaceAll(cmd.Example, "\n", "\n    $ ") + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\n| command | |\n|---|---|\n")
		for _, c := range cmd.Commands() {
			if !c.Hidden {
				fmt.Fprintf(b, "| `%s` | %s |\n", c.Name(), c.Short)
			}
		}
	}
	flags(b, cmd)
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			manual(b, c)
		}
	}
}

func flags(b *strings.Builder, cmd *cobra.Command) {
	head := "\n| flag | default | |\n|---|---|---|\n"
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		def := ""
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" {
			def = "`" + f.DefValue + "`"
		}
		usage := strings.ReplaceAll(strings.ReplaceAll(f.Usage, "|", "\\|"), "{{", "`{{")
		usage = strings.ReplaceAll(usage, "}}", "}}`")
		fmt.Fprintf(b, "%s| %s | %s | %s |\n", head, name, def, usage)
		head = ""
	})
}

// TestHelpIsWhole keeps every command from being half described.
func TestHelpIsWhole(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help is %q", c.CommandPath(), c.Short)
		}
		if c.RunE == nil || c.Args == nil && !c.HasSubCommands() {
			t.Errorf("%s: arguments are not checked", c.CommandPath())
		}
		if !c.HasSubCommands() && c.ValidArgsFunction == nil {
			t.Errorf("%s: arguments are not completed", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: help is %q", c.CommandPath(), f.Name, f.Usage)
			}
		})
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk(newMos())
	walk(newSet(nil))
}
