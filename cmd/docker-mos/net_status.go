package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/mosbridge/api"
)

func (n network) status() *cobra.Command {
	return statusCommand(n.daemon, (*api.Client).Status, printBridgeStatus)
}

func printBridgeStatus(w io.Writer, s api.Status) error {
	lines := [][2]string{
		{"version", s.Version},
		{"started", ago(s.Started)},
		{"docker", cmp.Or(s.Engine.Error, s.Engine.Version, "not asked yet")},
		{"open vswitch", cmp.Or(s.Switch.Error, s.Switch.Version)},
		{"networks", strconv.Itoa(s.Networks)},
		{"containers", fmt.Sprintf("%d of %d up", s.Endpoint.Joined, s.Endpoint.All)},
		{"last repair", fmt.Sprintf("%s, %d steps in %.3f s", ago(s.Repair.At), s.Repair.Steps, s.Repair.Took)},
	}
	if s.Repair.Error != "" {
		lines = append(lines, [2]string{"repair failed", s.Repair.Error})
	}
	for _, b := range s.Switch.Bridges {
		lines = append(lines,
			[2]string{"bridge " + b.Name, fmt.Sprintf("%s datapath, %d flows of round %d", b.Datapath, b.Flows, b.Round)},
			[2]string{"", cmp.Or(b.Error, b.Reason)})
	}
	return printLines(w, lines)
}

// printLines prints what a status has, each after its name.
func printLines(w io.Writer, lines [][2]string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "%-16s %s\n", l[0], l[1]); err != nil {
			return err
		}
	}
	return nil
}
