package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/setmgr/setting"
)

// newCgroup is the command `docker mos cgroup`.
func newCgroup() *cobra.Command {
	m := &mosd{}
	cmd := group("cgroup", "Settings of cgroups that Docker has no option for, kept in force by mosd")
	cmd.Long = "Settings have the names and the units of cgroup version 2, also where the host has version 1. " +
		"They are kept for a name: a container that is started again, or made anew under its name, has them again. " +
		"docs/cgroup-settings.md lists them. TARGET is the name of a container, or set/NAME for a set as a whole."
	usual := cmp.Or(os.Getenv("MOS_MOSD_SOCKET"), api.DefaultSocket)
	cmd.PersistentFlags().StringVar(&m.socket, "mosd-socket", usual, "Socket of mosd")
	cmd.AddCommand(m.cgroupLs(), m.cgroupGet(), m.cgroupSet(), m.cgroupUnset())
	return cmd
}

func cgroupList() *list[api.CgroupSetting] {
	type r = api.CgroupSetting
	return &list[r]{
		empty: "no settings: docker mos cgroup set TARGET NAME=VALUE makes one",
		columns: []column[r]{
			{name: "Target", header: "TARGET", whole: true, value: func(x r) string { return x.Target }},
			{name: "Setting", header: "SETTING", value: func(x r) string { return dash(x.Setting) }},
			{name: "Value", header: "VALUE", value: func(x r) string { return dash(x.Value) }},
			{name: "Source", header: "SOURCE", value: func(x r) string { return x.Source }},
			{name: "State", header: "STATE", value: func(x r) string { return x.State }},
			{name: "Repairs", header: "REPAIRS", value: func(x r) string { return strconv.Itoa(x.Repairs) }},
			{name: "Detail", header: "DETAIL", value: func(x r) string { return dash(strings.ReplaceAll(x.Detail, "\n", " ")) }},
			{name: "Kernel", header: "KERNEL", extra: true, value: func(x r) string { return dash(x.Kernel) }},
		},
		filters: []filter[r]{
			{key: "state", matches: func(x r, v string) bool { return x.State == v }},
			{key: "setting", matches: func(x r, v string) bool { return x.Setting == v }},
		},
	}
}

func (m *mosd) cgroupLs() *cobra.Command {
	l := cgroupList()
	cmd := &cobra.Command{
		Use: "ls [OPTIONS] [TARGET]", Short: "List settings, and whether they are in force",
		Long: "The exit code is 1 when one is faulty, which is not in force although its target runs.",
		Args: between(0, "TARGET"), ValidArgsFunction: m.completeTargets,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.check(); err != nil {
			return err
		}
		rows, err := api.New(m.socket).Cgroup(cmd.Context(), strings.Join(args, ""))
		if err != nil {
			return err
		}
		if err := l.print(cmd, rows); err != nil {
			return err
		}
		if slices.ContainsFunc(rows, func(r api.CgroupSetting) bool { return r.State == api.CgroupFaulty }) {
			return errBadNews
		}
		return nil
	}
	l.flags(cmd)
	return cmd
}

func (m *mosd) cgroupGet() *cobra.Command {
	var kernel bool
	cmd := &cobra.Command{
		Use: "get [OPTIONS] TARGET [SETTING...]", Short: "Print settings of a target as NAME=VALUE, without names all",
		Args: between(1, "TARGET", "SETTING..."), ValidArgsFunction: m.completeSettings,
	}
	cmd.Flags().BoolVar(&kernel, "kernel", false, "Print what the kernel tells of them, in the units of the host's cgroup version")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		rows, err := api.New(m.socket).Cgroup(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		for _, name := range args[1:] {
			if !slices.ContainsFunc(rows, func(r api.CgroupSetting) bool { return r.Setting == name }) {
				if _, err := setting.Find(name); err != nil {
					return err
				}
				return fmt.Errorf("%s has no setting %s of its own", args[0], name)
			}
		}
		for _, r := range rows {
			value := r.Value
			if kernel {
				value = r.Kernel
			}
			if len(args) > 1 && !slices.Contains(args[1:], r.Setting) {
				continue
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s=%s\n", r.Setting, value); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func (m *mosd) cgroupSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set TARGET NAME=VALUE...", Short: "Give a container or a set settings, all of them or none",
		Long: "They are in force when the command returns, or from the target's start on, and last until they are unset. " +
			"Sizes may be written as 512m or 8g.",
		Example: "docker mos cgroup set web.app memory.high=900m cpu.max.burst=50000\n" +
			"docker mos cgroup set set/web pids.max=500 \"io.max=/dev/vda wbps=20m riops=300\"",
		Args: between(2, "TARGET", "NAME=VALUE..."), ValidArgsFunction: m.completeSettings,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		values := map[string]string{}
		for _, a := range args[1:] {
			name, value, is := strings.Cut(a, "=")
			if !is {
				return usage("%q is not of the form NAME=VALUE", a)
			}
			if _, twice := values[name]; twice {
				return usage("%s is given twice", name)
			}
			values[name] = value
		}
		_, err := api.New(m.socket).CgroupSet(cmd.Context(), api.CgroupSet{Target: args[0], Settings: values})
		if err == nil {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), args[0])
		}
		return err
	}
	return cmd
}

func (m *mosd) cgroupUnset() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "unset [OPTIONS] TARGET [SETTING...]", Short: "Take settings away; what was in force before is so again",
		Args: between(1, "TARGET", "SETTING..."), ValidArgsFunction: m.completeSettings,
	}
	cmd.Flags().BoolVar(&all, "all", false, "All settings of the target")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 1) {
			return usage("name settings of %s, or give --all", args[0])
		}
		_, err := api.New(m.socket).CgroupUnset(cmd.Context(), api.CgroupUnset{Target: args[0], Settings: args[1:]})
		if err == nil {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), args[0])
		}
		return err
	}
	return cmd
}

// completeTargets completes targets that have settings.
func (m *mosd) completeTargets(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeLimit)
	defer cancel()
	rows, err := api.New(m.socket).Cgroup(ctx, "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, r := range rows {
		out = append(out, r.Target)
	}
	slices.Sort(out)
	return slices.Compact(out), cobra.ShellCompDirectiveNoFileComp
}

// completeSettings completes a target, then names of settings.
func (m *mosd) completeSettings(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return m.completeTargets(cmd, args, part)
	}
	return setting.Names(), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
