package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/setmgr/label"
)

func (s *sets) events() *cobra.Command {
	var format string
	var o client.EventsListOptions
	cmd := &cobra.Command{
		Use: "events [OPTIONS] [SET]", Short: "Show what happens to the containers of sets", Args: between(0, "SET"), ValidArgsFunction: s.oneSet,
		Long: "Show what happens to the containers of sets: a line has the time, what happened, the set, the container (infra is that of the set itself) and more. " +
			"Health checks are left out, but for what comes of them. --format json prints all that the Engine tells, of health checks too.",
	}
	cmd.Flags().StringVar(&format, "format", "", `"json", or nothing for lines`)
	cmd.Flags().StringVar(&o.Since, "since", "", "What happened since then: a time, or 10m")
	cmd.Flags().StringVar(&o.Until, "until", "", "End then: a time, or 10m for ten minutes ago")
	complete(cmd, "format", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if format != "" && format != "json" {
			return usage("--format %s is not known: want json", format)
		}
		api, err := s.client()
		if err != nil {
			return err
		}
		o.Filters = make(client.Filters).Add("type", string(events.ContainerEventType)).Add("label", strings.Join(append([]string{label.Set}, args...), "="))
		checks := &healthChecks{ask: func(ctx context.Context, id string) []string {
			in, err := api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
			if err != nil || in.Container.Config == nil || in.Container.Config.Healthcheck == nil {
				return nil
			}
			return in.Container.Config.Healthcheck.Test
		}, of: map[string][]string{}, others: map[string]bool{}}
		ctx := cmd.Context()
		out := api.Events(ctx, o)
		for {
			select {
			case m := <-out.Messages:
				if err := printEvent(ctx, cmd.OutOrStdout(), m, format == "json", checks); err != nil {
					return err
				}
			case err := <-out.Err:
				switch {
				case ctx.Err() != nil:
					return exitError(codeOf(os.Interrupt)) // docker was told to end
				case errors.Is(err, io.EOF):
					err = nil
				}
				return err
			}
		}
	}
	return cmd
}

func printEvent(ctx context.Context, w io.Writer, m events.Message, all bool, c *healthChecks) error {
	if all {
		data, err := json.Marshal(m)
		if err == nil {
			_, err = fmt.Fprintf(w, "%s\n", data)
		}
		return err
	}
	if c.is(ctx, m) {
		return nil
	}
	_, err := fmt.Fprintln(w, eventLine(m))
	return err
}

// eventLine is an event in one line, docker's way, without the labels.
func eventLine(m events.Message) string {
	a := m.Actor.Attributes
	var more []string
	for _, key := range []string{"name", "oldName", "exitCode", "signal", "execID", "image"} {
		if v := a[key]; v != "" {
			if key == "execID" {
				v = v[:min(12, len(v))]
			}
			more = append(more, key+"="+v)
		}
	}
	at := time.Unix(0, m.TimeNano).Format("2006-01-02T15:04:05.000000000Z07:00")
	return fmt.Sprintf("%s %s %s %s (%s)", at, strings.TrimSpace(string(m.Action)), a[label.Set], cmp.Or(a[label.Member], "infra"), strings.Join(more, ", "))
}

// healthChecks tells the commands of health checks from those that somebody runs in a
// container.
type healthChecks struct {
	ask    func(ctx context.Context, id string) []string // a container's check, as the Engine has it
	of     map[string][]string                           // by container
	others map[string]bool                               // ids of commands of somebody
}

// is says whether an event is of a health check, or of a command that began unseen.
func (c *healthChecks) is(ctx context.Context, m events.Message) bool {
	action, command, _ := strings.Cut(string(m.Action), ": ")
	if !strings.HasPrefix(action, "exec_") {
		return false
	}
	id := m.Actor.Attributes["execID"]
	if action == string(events.ActionExecCreate) {
		test, known := c.of[m.Actor.ID]
		if !known {
			test = c.ask(ctx, m.Actor.ID)
			c.of[m.Actor.ID] = test
		}
		if !isCheck(test, strings.TrimSpace(command)) {
			c.others[id] = true
		}
	}
	somebody := c.others[id]
	if action == string(events.ActionExecDie) {
		delete(c.others, id)
	}
	return !somebody
}

// isCheck says whether a command is that of a health check: its words, or for a shell
// its last ones.
func isCheck(test []string, command string) bool {
	if len(test) < 2 {
		return false
	}
	line := strings.TrimSpace(strings.Join(test[1:], " "))
	return command == line || test[0] == "CMD-SHELL" && strings.HasSuffix(command, " "+line)
}
