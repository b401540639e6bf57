package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/hostsrv/api"
)

// sortKeys are what docker mos top sorts by, the most first.
func sortKeys() map[string]func(api.Use) float64 {
	return map[string]func(api.Use) float64{
		"cpu":    func(u api.Use) float64 { return u.CPU },
		"memory": func(u api.Use) float64 { return u.Memory },
		"net":    func(u api.Use) float64 { return u.Received + u.Sent },
		"io":     func(u api.Use) float64 { return u.Read + u.Written },
	}
}

// newTop is the command `docker mos top`.
func newTop() *cobra.Command {
	m := &mosd{}
	l := topList()
	f := &topFlags{}
	cmd := &cobra.Command{
		Use: "top [OPTIONS] [SET...]", Short: "Show what sets, containers and the host use, live",
		Long:    "mosd measures that without asking the Engine, so it is shown also while that hangs. Containers stand below their sets. " + onceElsewhere,
		Example: "docker mos top\ndocker mos top --no-stream --sort memory web",
		Args:    func(*cobra.Command, []string) error { return nil }, ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&m.socket, "mosd-socket", mosdSocket(), "Socket of mosd")
	f.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		if err := l.check(); err != nil {
			return err
		}
		return f.show(cmd, l.format, l.quiet, func(ctx context.Context, out io.Writer) error {
			t, err := api.New(m.socket).Top(ctx)
			if err != nil {
				return err
			}
			uses, err := arrange(t.Uses, args, sortKeys()[f.by])
			if err != nil {
				return err
			}
			return l.to(out, cmd.ErrOrStderr(), uses)
		})
	}
	l.flags(cmd)
	return cmd
}

const onceElsewhere = "Not on a terminal, or with another --format than a table, it is printed once."

// topFlags are those of commands that show what is used.
type topFlags struct {
	by    string
	once  bool
	every time.Duration
}

func (f *topFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.by, "sort", "cpu", `What has the most first: "cpu", "memory", "net", "io"; or "name"`)
	cmd.Flags().BoolVar(&f.once, "no-stream", false, "Print once")
	cmd.Flags().DurationVar(&f.every, "interval", 2*time.Second, "Time between two looks")
	complete(cmd, "sort", "cpu", "memory", "net", "io", "name")
}

// check refuses what cannot be understood.
func (f *topFlags) check() error {
	switch {
	case !slices.Contains([]string{"cpu", "memory", "net", "io", "name"}, f.by):
		return usage("--sort %s is not known: want cpu, memory, net, io or name", f.by)
	case f.every < 100*time.Millisecond:
		return usage("--interval %v is too short: give 100ms at least", f.every)
	}
	return nil
}

// show prints what look writes, live where a table goes to a terminal.
func (f *topFlags) show(cmd *cobra.Command, format string, quiet bool, look func(context.Context, io.Writer) error) error {
	if f.once || quiet || !strings.HasPrefix(format, "table") || !terminal(cmd.OutOrStdout()) {
		return look(cmd.Context(), cmd.OutOrStdout())
	}
	return live(cmd, f.every, look)
}

// live shows what look writes again and again, until somebody ends it.
func live(cmd *cobra.Command, every time.Duration, look func(context.Context, io.Writer) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	for {
		var b bytes.Buffer
		err := look(ctx, &b)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		// Each line ends what was there before it, and the last all below it.
		text := "\x1b[H" + strings.ReplaceAll(b.String(), "\n", "\x1b[K\n") + "\x1b[J"
		if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// arrange puts the host first, then sets with their containers below each, then other
// containers; only some sets when they are named.
func arrange(all []api.Use, sets []string, key func(api.Use) float64) ([]api.Use, error) {
	slices.SortStableFunc(all, func(x, y api.Use) int {
		if key != nil && key(x) != key(y) {
			return cmp.Compare(key(y), key(x))
		}
		return strings.Compare(x.Name, y.Name)
	})
	known := map[string]bool{}
	for _, u := range all {
		if u.Scope == "set" {
			known[u.Name] = true
		}
	}
	for _, s := range sets {
		if !known[s] {
			return nil, usage("there is no set %s that runs: there are %s", s, dash(strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
		}
	}
	wanted := func(set string) bool { return len(sets) == 0 || slices.Contains(sets, set) }
	var out, others []api.Use
	for _, u := range all {
		switch {
		case u.Scope == "host" && len(sets) == 0:
			out = slices.Insert(out, 0, u)
		case u.Scope == "set" && wanted(u.Name):
			out = append(out, u)
			for _, c := range all {
				if c.Scope == "container" && c.Set == u.Name {
					out = append(out, c)
				}
			}
		case u.Scope == "container" && !known[u.Set] && len(sets) == 0:
			others = append(others, u)
		}
	}
	return append(out, others...), nil
}

func topList() *list[api.Use] {
	type r = api.Use
	// part is a share in percent, dash for what was not measured.
	part := func(n float64) string {
		if n < 0 {
			return "-"
		}
		return fmt.Sprintf("%.0f%%", n)
	}
	bytes := func(n float64) string {
		if n < 0 {
			return "-"
		}
		return binary(uint64(n))
	}
	count := func(n float64) string {
		if n < 0 {
			return "-"
		}
		return fmt.Sprintf("%.0f", n)
	}
	name := func(x r) string {
		if x.Scope == "container" && x.Set != "" {
			return "  " + cmp.Or(x.Member, "infra")
		}
		return x.Name
	}
	return &list[r]{
		id: func(x r) string { return x.Name }, named: true, empty: "nothing runs",
		columns: []column[r]{
			{name: "Name", header: "NAME", value: name, whole: true},
			{name: "CPU", header: "CPU", value: func(x r) string {
				if x.CPU < 0 {
					return "-"
				}
				return fmt.Sprintf("%.2f", x.CPU)
			}},
			{name: "CPUPercent", header: "CPU %", value: func(x r) string { return part(x.CPUPercent) }},
			{name: "Throttled", header: "THROTTLED", value: func(x r) string { return part(x.Throttled) }},
			{name: "Memory", header: "MEMORY / LIMIT", value: func(x r) string {
				if x.MemoryLimit <= 0 {
					return bytes(x.Memory)
				}
				return bytes(x.Memory) + " / " + bytes(x.MemoryLimit)
			}},
			{name: "MemoryPercent", header: "MEM %", value: func(x r) string { return part(x.MemoryPercent) }},
			{name: "Net", header: "NET IN / OUT", value: func(x r) string { return bytes(x.Received) + " / " + bytes(x.Sent) }},
			{name: "IO", header: "READ / WRITTEN", value: func(x r) string { return bytes(x.Read) + " / " + bytes(x.Written) }},
			{name: "Waits", header: "WAITS CPU MEM IO", value: func(x r) string { return part(x.WaitCPU) + " " + part(x.WaitMemory) + " " + part(x.WaitIO) }},
			{name: "Threads", header: "THREADS", value: func(x r) string { return count(x.Threads) }},
			{name: "Kills", header: "OOM KILLS", value: func(x r) string { return count(x.Kills) }},
			{name: "Scope", header: "SCOPE", extra: true, value: func(x r) string { return x.Scope }},
			{name: "Container", header: "CONTAINER", extra: true, value: func(x r) string { return x.Name }},
			{name: "Set", header: "SET", extra: true, value: func(x r) string { return dash(x.Set) }},
			{name: "Image", header: "IMAGE", extra: true, value: func(x r) string { return dash(x.Image) }},
		},
		filters: []filter[r]{
			byName(func(x r) string { return x.Name }),
			{key: "scope", matches: func(x r, v string) bool { return x.Scope == v }},
		},
	}
}
