package ovs

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// ofctl runs ovs-ofctl for a bridge. Words of args that are "BRIDGE" stand for
// the bridge's socket, so that no other run directory is asked.
func (c *Client) ofctl(ctx context.Context, bridge string, stdin []byte, args ...string) ([]byte, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	argv := []string{"ovs-ofctl", "-O", "OpenFlow14"}
	for _, a := range args {
		if a == "BRIDGE" {
			a = "unix:" + c.mgmtPath(bridge)
		}
		argv = append(argv, a)
	}
	out, err := c.cfg.Runner.Run(ctx, xexec.Cmd{Argv: argv, Stdin: stdin})
	return out, ofctlError(ctx, bridge, err)
}

// ofctlError gives an error of ovs-ofctl its class.
func ofctlError(ctx context.Context, bridge string, err error) error {
	var e *xexec.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e):
		return err
	case ctx.Err() == nil && (strings.Contains(e.Stderr, "connecting to unix:") || strings.Contains(e.Stderr, "failed to connect to socket")):
		return silent("bridge " + bridge)
	case ctx.Err() != nil, strings.Contains(e.Stderr, "OpenFlow connection"):
		return fault.Unavailable("bridge %s: ovs-vswitchd does not answer: start openvswitch-switch: %w", bridge, err)
	case strings.Contains(e.Stderr, "-:"), strings.Contains(e.Stderr, "unknown keyword"), strings.Contains(e.Stderr, "unknown action"):
		return fault.Invalid("bridge %s: flow not understood: %w", bridge, err)
	}
	return fault.Conflict("bridge %s: %w", bridge, err)
}

// appctl runs ovs-appctl for ovs-vswitchd.
func (c *Client) appctl(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	out, err := c.cfg.Runner.Run(ctx, xexec.Cmd{
		Argv: append([]string{"ovs-appctl", "-t", "ovs-vswitchd"}, args...),
		Env:  []string{"OVS_RUNDIR=" + c.cfg.RunDir},
	})
	var e *xexec.Error
	if errors.As(err, &e) && (ctx.Err() != nil || strings.Contains(e.Stderr, "cannot connect") || strings.Contains(e.Stderr, "cannot read pidfile")) {
		return out, fault.Unavailable("ovs-vswitchd does not answer: start openvswitch-switch: %w", err)
	}
	return out, err
}

func joined(lines []string) []byte {
	var b bytes.Buffer
	for _, l := range lines {
		b.WriteString(l)
		b.WriteByte('\n')
	}
	return b.Bytes()
}
