package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/mosbridge/api"
)

func (n network) trace() *cobra.Command {
	var r api.TraceRequest
	var raw bool
	var format string
	cmd := &cobra.Command{
		Use:   "trace [OPTIONS] CONTAINER ADDRESS|CONTAINER",
		Short: "Say what happens to a packet that a container sends, and why",
		Long: "Say what happens to a packet that a container sends, and why.\n\n" +
			"Open vSwitch is asked; no packet is sent. The exit code is 0 when the packet gets through and 1 when it is dropped.",
		Args:              exactly("CONTAINER", "ADDRESS|CONTAINER"),
		ValidArgsFunction: n.names(2, containerNames),
	}
	cmd.Flags().StringVar(&r.Proto, "proto", "icmp", "Protocol: icmp, tcp or udp")
	cmd.Flags().Uint16Var(&r.Port, "port", 0, "Destination port of tcp and udp (default 80)")
	cmd.Flags().BoolVar(&raw, "raw", false, "Print Open vSwitch's own words")
	cmd.Flags().StringVar(&format, "format", "text", `"text" or "json"`)
	complete(cmd, "proto", "icmp", "tcp", "udp")
	complete(cmd, "format", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case !slices.Contains([]string{"icmp", "tcp", "udp"}, r.Proto):
			return usage("--proto %s is none of icmp, tcp, udp", r.Proto)
		case r.Port != 0 && r.Proto == "icmp":
			return usage("--port needs --proto tcp or udp")
		case format != "text" && format != "json":
			return usage("--format %s is none of text, json", format)
		}
		return n.within(cmd, func(ctx context.Context, c *api.Client) error {
			var err error
			if r.From, r.To, err = ends(ctx, c, args[0], args[1]); err != nil {
				return err
			}
			t, err := c.Trace(ctx, r)
			if err != nil {
				return err
			}
			if err := printTrace(cmd.OutOrStdout(), t, raw, format); err != nil {
				return err
			}
			if !t.Allowed {
				return errBadNews
			}
			return nil
		})
	}
	return cmd
}

// ends finds the endpoint that sends and the address it sends to. Another
// container is meant by the address it has on a network that both are on.
func ends(ctx context.Context, c *api.Client, from, to string) (string, netip.Addr, error) {
	if addr, err := netip.ParseAddr(to); err == nil {
		return from, addr, nil
	}
	there, err := interfaces(ctx, c, to)
	if err != nil {
		return "", netip.Addr{}, err
	}
	here, err := interfaces(ctx, c, from)
	if err != nil {
		return "", netip.Addr{}, err
	}
	for _, h := range here {
		for _, t := range there {
			if h.Network == t.Network && len(t.Addrs) > 0 {
				return h.ID, t.Addrs[0], nil
			}
		}
	}
	for _, t := range there {
		if len(t.Addrs) > 0 {
			return from, t.Addrs[0], nil
		}
	}
	return "", netip.Addr{}, fmt.Errorf("%s has no address", to)
}

func printTrace(w io.Writer, t api.Trace, raw bool, format string) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(t)
	}
	if raw {
		_, err := fmt.Fprintln(w, t.Raw)
		return err
	}
	verdict := "dropped"
	if t.Allowed {
		verdict = "allowed"
	}
	if _, err := fmt.Fprintf(w, "%s: %s\n", verdict, t.Reason); err != nil {
		return err
	}
	for _, h := range t.Hops {
		if _, err := fmt.Fprintln(w, "  "+h); err != nil {
			return err
		}
	}
	return nil
}
