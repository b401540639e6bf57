package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/setmgr/render"
)

// cp copies by docker cp; one of its ends names a container of the set.
func (s *sets) cp() *cobra.Command {
	var archive, follow bool
	cmd := &cobra.Command{
		Use:   "cp [OPTIONS] SET CONTAINER:SRC_PATH DEST_PATH|-\n  docker set cp [OPTIONS] SET SRC_PATH|- CONTAINER:DEST_PATH",
		Short: "Copy files between a container of a set and here", Args: exactly("SET", "SRC", "DEST"),
		Example: "docker set cp web app:/etc/app.conf .\ndocker set cp web app.conf app:/etc/",
	}
	cmd.Flags().BoolVarP(&archive, "archive", "a", false, "Keep owners")
	cmd.Flags().BoolVarP(&follow, "follow-link", "L", false, "Follow symbolic links at the source")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return s.oneSet(cmd, args, word)
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		set, ends := args[0], args[1:]
		var members []string
		argv := []string{"cp"}
		if archive {
			argv = append(argv, "--archive")
		}
		if follow {
			argv = append(argv, "--follow-link")
		}
		argv = append(argv, "--")
		for _, end := range ends {
			// As docker cp has it: what begins so is a file here, whatever colon follows.
			member, path, inside := strings.Cut(end, ":")
			if inside && !strings.HasPrefix(end, "/") && !strings.HasPrefix(end, ".") {
				members = append(members, member)
				end = render.MemberName(set, member) + ":" + path
			}
			argv = append(argv, end)
		}
		if len(members) != 1 {
			return usage("one of %s and %s must be CONTAINER:PATH", ends[0], ends[1])
		}
		_, o, err := s.observe(cmd.Context(), set)
		if err != nil {
			return err
		}
		if _, _, err := chosen(o, set, members); err != nil {
			return err
		}
		return s.docker(cmd, argv)
	}
	return cmd
}

// debugImage is what docker set debug runs unless it is told another.
const debugImage = "busybox"

// debug runs a container with tools beside a member, or beside the infra only.
func (s *sets) debug() *cobra.Command {
	var image string
	var privileged, volumes bool
	cmd := &cobra.Command{
		Use:   "debug [OPTIONS] SET [CONTAINER] [-- COMMAND...]",
		Short: "Run a container with tools beside a container of a set",
		Long: "It shares network and IPC with the set and, when a CONTAINER is named, the processes of that, whose files are below /proc/1/root." +
			" It may trace processes and look at the network, is not under the cap of the set, and goes when its command ends. Without a COMMAND it runs a shell.",
		Example: "docker set debug web app\ndocker set debug --image nicolaka/netshoot web -- tcpdump -ni eth0",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.ValidArgsFunction = s.setThenMemberOnly
	cmd.Flags().StringVar(&image, "image", debugImage, "Image with the tools")
	cmd.Flags().BoolVar(&privileged, "privileged", false, "All rights on the host")
	cmd.Flags().BoolVar(&volumes, "volumes", false, "Mount the volumes of the CONTAINER where it has them, or without one that of the set at /mnt/set")
	complete(cmd, "image")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		names, command := args, []string{"sh"}
		if dash := cmd.ArgsLenAtDash(); dash >= 0 {
			names, command = args[:dash], args[dash:]
		}
		if len(names) == 0 || len(names) > 2 {
			return usage("%s needs SET and at most one CONTAINER; a command comes behind --", cmd.CommandPath())
		}
		_, o, err := s.observe(cmd.Context(), names[0])
		if err != nil {
			return err
		}
		infra := render.InfraName(names[0])
		argv := []string{"run", "--rm", "--interactive", "--network=container:" + infra, "--ipc=container:" + infra}
		if terminal(cmd.OutOrStdout()) {
			argv = append(argv, "--tty")
		}
		beside := infra
		if len(names) == 2 {
			if _, _, err := chosen(o, names[0], names[1:]); err != nil {
				return err
			}
			beside = render.MemberName(names[0], names[1])
			// The network of the member is that of the infra unless it is cut off from
			// it, which is when somebody wants to look.
			argv[3] = "--network=container:" + beside
			argv = append(argv, "--pid=container:"+beside)
		}
		if volumes {
			argv = append(argv, "--volumes-from="+beside)
		}
		if privileged {
			argv = append(argv, "--privileged")
		} else {
			argv = append(argv, "--cap-add=SYS_PTRACE", "--cap-add=NET_ADMIN", "--cap-add=NET_RAW")
		}
		return s.docker(cmd, slices.Concat(argv, []string{image}, command))
	}
	return cmd
}
