package ovs

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Meter drops what goes beyond a rate.
type Meter struct {
	ID    uint32 // 1 or more
	Kbps  uint32 // rate in 1000 bits a second
	Burst uint32 // size in 1000 bits; 0 is the switch's default
}

const (
	meterAdd    = 0
	meterModify = 1
	meterDelete = 2

	meterKbps  = 1 << 0
	meterBurst = 1 << 2
	bandDrop   = 1
	bandLen    = 16

	meterModFailed = 12 // error type
	meterExists    = 1  // error codes
	meterUnknown   = 3
)

func (m Meter) body(command uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, command)
	flags := uint16(meterKbps)
	if m.Burst != 0 {
		flags |= meterBurst
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, m.ID)
	if command == meterDelete {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, bandDrop)
	b = binary.BigEndian.AppendUint16(b, bandLen)
	b = binary.BigEndian.AppendUint32(b, m.Kbps)
	b = binary.BigEndian.AppendUint32(b, m.Burst)
	return append(b, 0, 0, 0, 0)
}

// SetMeters makes the meters of the bridge or changes those that are there.
// Meters are no part of bundles: set them before the flows that use them.
func (c *Client) SetMeters(ctx context.Context, bridge string, ms ...Meter) error {
	if len(ms) == 0 {
		return nil
	}
	return c.talk(ctx, bridge, func(o *ofConn) error {
		there, err := meterMods(o, meterAdd, meterExists, ms)
		if err == nil && len(there) > 0 {
			_, err = meterMods(o, meterModify, meterExists, there)
		}
		if err != nil {
			return fmt.Errorf("set meters of bridge %s: %w", bridge, err)
		}
		return nil
	})
}

// DelMeters deletes meters, and with each the flows that use it; missing ones
// are no error.
func (c *Client) DelMeters(ctx context.Context, bridge string, ids ...uint32) error {
	if len(ids) == 0 {
		return nil
	}
	ms := make([]Meter, len(ids))
	for i, id := range ids {
		ms[i].ID = id
	}
	return c.talk(ctx, bridge, func(o *ofConn) error {
		if _, err := meterMods(o, meterDelete, meterUnknown, ms); err != nil {
			return fmt.Errorf("delete meters of bridge %s: %w", bridge, err)
		}
		return nil
	})
}

// meterMods does one command on all meters and returns those that the switch
// refuses with the error code that the caller can cope with.
func meterMods(o *ofConn, command, cope uint16, ms []Meter) ([]Meter, error) {
	sent := map[uint32]Meter{}
	for _, m := range ms {
		xid, err := o.send(ofMeterMod, m.body(command))
		if err != nil {
			return nil, err
		}
		sent[xid] = m
	}
	refused, err := o.barrier()
	if err != nil {
		return nil, err
	}
	var coped []Meter
	for xid, e := range refused {
		var r *refusalError
		if errors.As(e, &r) && r.class == meterModFailed && r.code == cope {
			coped = append(coped, sent[xid])
			continue
		}
		err = errors.Join(err, fmt.Errorf("meter %d: %w", sent[xid].ID, e))
	}
	return coped, err
}

// Meters returns the bridge's meters by id.
func (c *Client) Meters(ctx context.Context, bridge string) ([]Meter, error) {
	var ms []Meter
	err := c.talk(ctx, bridge, func(o *ofConn) error {
		b := binary.BigEndian.AppendUint32(nil, ofAny)
		all, err := o.multipart(ofMeterConfig, append(b, 0, 0, 0, 0))
		if err != nil {
			return fmt.Errorf("list meters of bridge %s: %w", bridge, err)
		}
		ms, err = parseMeters(all)
		return err
	})
	return ms, err
}

func parseMeters(b []byte) ([]Meter, error) {
	var ms []Meter
	for len(b) > 0 {
		if len(b) < 8 {
			return nil, errors.New("meter list is cut off")
		}
		size := int(binary.BigEndian.Uint16(b))
		if size < 8 || size > len(b) {
			return nil, fmt.Errorf("meter list has an entry of %d bytes", size)
		}
		m := Meter{ID: binary.BigEndian.Uint32(b[4:])}
		if size >= 8+bandLen {
			m.Kbps, m.Burst = binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint32(b[16:])
		}
		ms = append(ms, m)
		b = b[size:]
	}
	slices.SortFunc(ms, func(a, b Meter) int { return cmp.Compare(a.ID, b.ID) })
	return ms, nil
}
