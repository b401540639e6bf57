package ovs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mosdocker/mosdocker/internal/fault"
)

const (
	ofBundleControl = 33
	ofBundleAdd     = 34

	bundleOpen   = 0
	bundleCommit = 4
	bundleFlags  = 1<<0 | 1<<1 // atomic, ordered
)

// Bundle changes flows of a bridge atomically: all lines or none. A line is a
// flow in ovs-ofctl's syntax, after an optional word "add" (the default),
// "modify", "modify_strict", "delete" or "delete_strict" and a space. No lines
// do nothing. A line that is not understood gives ErrInvalidArgument, one that
// the switch refuses ErrFailedPrecondition, a bridge that is not served
// ErrUnavailable.
func (c *Client) Bundle(ctx context.Context, bridge string, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	mods := make([][]byte, len(lines))
	for i, l := range lines {
		var ok bool
		if mods[i], ok = compile(l); !ok {
			_, err := c.ofctl(ctx, bridge, joined(lines), "--bundle", "add-flows", "BRIDGE", "-")
			return err
		}
	}
	return c.talk(ctx, bridge, func(o *ofConn) error {
		refused, err := o.bundle(mods)
		if err != nil {
			return fmt.Errorf("change flows of bridge %s: %w", bridge, err)
		}
		if len(refused) == 0 {
			return nil
		}
		i, what := slices.Min(slices.Collect(maps.Keys(refused))), "the bundle"
		if i < len(lines) {
			what = "flow " + lines[i]
		}
		return fault.Conflict("change flows of bridge %s: %s: %w", bridge, what, refused[i])
	})
}

// bundle sends flow modifications as one bundle and returns what the switch
// refuses by their index; the bundle's own refusal has the index after the
// last.
func (o *ofConn) bundle(mods [][]byte) (map[int]error, error) {
	// One write for all: the switch answers only to the barrier and to what
	// it refuses.
	b := o.append(nil, ofBundleControl, control(bundleOpen))
	first := o.xid + 1
	for _, m := range mods {
		b = o.appendAdd(b, m)
	}
	if _, err := o.nc.Write(b); err != nil {
		return nil, err
	}
	refused, err := o.barrier()
	if err != nil {
		return nil, err
	}
	if len(refused) == 0 { // else the end of the connection discards the bundle
		refused, err = o.commit()
	}
	byIndex := map[int]error{}
	for xid, e := range refused {
		i := len(mods)
		if xid >= first && xid < first+uint32(len(mods)) {
			i = int(xid - first)
		}
		byIndex[i] = e
	}
	return byIndex, err
}

// commit returns the switch's refusals by the number of the request.
func (o *ofConn) commit() (map[uint32]error, error) {
	end, err := o.send(ofBundleControl, control(bundleCommit))
	refused := map[uint32]error{}
	for err == nil {
		var m ofMessage
		m, err = o.next()
		switch {
		case err != nil:
		case m.kind == ofError:
			refused[m.xid] = refusal(m)
			if m.xid == end {
				return refused, nil
			}
		case m.kind == ofBundleControl && m.xid == end:
			if len(refused) > 0 {
				err = errors.New("the switch both refuses and commits")
			}
			return refused, err
		}
	}
	return nil, err
}

// control is the body of a bundle control message for bundle 0.
func control(kind uint16) []byte {
	b := []byte{0, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, kind)
	return binary.BigEndian.AppendUint16(b, bundleFlags)
}

// appendAdd adds the message that puts a flow modification into the bundle;
// both carry the same number.
func (o *ofConn) appendAdd(b, mod []byte) []byte {
	o.xid++
	const envelope = 8 // bundle, padding, flags
	b = header(b, ofBundleAdd, o.xid, envelope+ofHeaderLen+len(mod))
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, bundleFlags)
	b = header(b, ofFlowMod, o.xid, len(mod))
	return append(b, mod...)
}
