package ovs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// Flow is a flow of a bridge.
type Flow struct {
	Table    uint8
	Cookie   uint64
	Priority uint16
	Match    string // "" matches all
	Actions  string
	Packets  uint64
	Bytes    uint64
}

// DumpFlows returns the flows of a bridge that match, in ovs-ofctl's syntax
// such as "table=3" or "cookie=0x1000/0xf000"; "" is all.
func (c *Client) DumpFlows(ctx context.Context, bridge, match string) ([]Flow, error) {
	args := []string{"--no-names", "dump-flows", "BRIDGE"}
	if match != "" {
		args = append(args, match)
	}
	out, err := c.ofctl(ctx, bridge, nil, args...)
	if err != nil {
		return nil, err
	}
	var fs []Flow
	for line := range strings.Lines(string(out)) {
		f, ok, err := parseFlow(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("flow of bridge %s %q: %w", bridge, line, err)
		}
		if ok {
			fs = append(fs, f)
		}
	}
	return fs, nil
}

// parseFlow reads a line of dump-flows; ok is false for a line that is none,
// such as the heading.
func parseFlow(line string) (f Flow, ok bool, err error) {
	head, actions, ok := strings.Cut(line, "actions=")
	if !ok || !strings.Contains(head, "cookie=") {
		return Flow{}, false, nil
	}
	f = Flow{Actions: actions, Priority: 32768} // the default is not printed
	var match []string
	for field := range strings.FieldsFuncSeq(head, func(r rune) bool { return r == ',' || r == ' ' }) {
		key, value, _ := strings.Cut(field, "=")
		var n uint64
		switch key {
		case "cookie":
			f.Cookie, err = strconv.ParseUint(value, 0, 64)
		case "table":
			n, err = strconv.ParseUint(value, 10, 8)
			f.Table = uint8(n)
		case "n_packets":
			f.Packets, err = strconv.ParseUint(value, 10, 64)
		case "n_bytes":
			f.Bytes, err = strconv.ParseUint(value, 10, 64)
		case "priority":
			n, err = strconv.ParseUint(value, 10, 16)
			f.Priority = uint16(n)
		case "duration", "idle_age", "hard_age", "idle_timeout", "hard_timeout", "importance", "reset_counts", "send_flow_rem":
		default:
			match = append(match, field)
		}
		if err != nil {
			return Flow{}, false, err
		}
	}
	f.Match = strings.Join(match, ",")
	return f, true, nil
}

// DiffFlows compares a bridge's flows with the wished ones, cookies and
// timeouts included. Missing are lines that have to be added, extra those that
// have to go; a changed flow is in both. Wished lines are flows, with or without
// the word "add".
func (c *Client) DiffFlows(ctx context.Context, bridge string, want []string) (missing, extra []string, err error) {
	plain := make([]string, len(want))
	for i, l := range want { // diff-flows does not know the word
		plain[i] = strings.TrimPrefix(l, "add ")
	}
	// ovs-ofctl takes a name that begins with a slash for a file.
	out, err := c.ofctl(ctx, bridge, joined(plain), "diff-flows", "BRIDGE", "/dev/stdin")
	var e *xexec.Error
	if err != nil && (!errors.As(err, &e) || e.Code != differ || e.Stderr != "") {
		return nil, nil, err
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "-"); ok {
			extra = append(extra, rest)
		} else if rest, ok := strings.CutPrefix(line, "+"); ok {
			missing = append(missing, rest)
		}
	}
	return missing, extra, nil
}

// differ is the exit code of diff-flows for flows that differ.
const differ = 2

// CountFlows returns the number of flows of a bridge, of all tables.
func (c *Client) CountFlows(ctx context.Context, bridge string) (n int, err error) {
	req := make([]byte, 40)
	req[0] = 0xff // all tables
	binary.BigEndian.PutUint32(req[4:], ofAny)
	binary.BigEndian.PutUint32(req[8:], ofAny)
	binary.BigEndian.PutUint16(req[32:], 1) // an OXM match
	binary.BigEndian.PutUint16(req[34:], 4) // of nothing
	err = c.talk(ctx, bridge, func(o *ofConn) error {
		b, err := o.multipart(ofAggregate, req)
		if err == nil && len(b) < 20 {
			err = fmt.Errorf("answer of %d bytes", len(b))
		}
		if err != nil {
			return fmt.Errorf("count flows of bridge %s: %w", bridge, err)
		}
		n = int(binary.BigEndian.Uint32(b[16:]))
		return nil
	})
	return n, err
}

// Trace returns what the bridge would do with a packet, as ovs-appctl
// ofproto/trace prints it; the flow is in ovs-ofctl's syntax, with in_port.
func (c *Client) Trace(ctx context.Context, bridge, flow string) (string, error) {
	out, err := c.appctl(ctx, "ofproto/trace", bridge, flow)
	var e *xexec.Error
	if errors.As(err, &e) && !errdefs.IsUnavailable(err) {
		err = fault.Invalid("trace on bridge %s: %w", bridge, err)
	}
	return string(out), err
}
