package ovs

import (
	"context"
	"encoding/binary"
	"fmt"
)

const (
	ofPacketOut   = 13
	ofTable       = 0xfffffff9 // the port that stands for the flow tables
	ofNoBuffer    = 0xffffffff
	ofOutputLen   = 16
	ofWholePacket = 0xffff
)

// Inject lets Ethernet frames take the way through the bridge's flows as if
// they had come in by the port with the OpenFlow number inPort. What the flows
// drop is dropped. A bridge that is not served gives ErrUnavailable.
func (c *Client) Inject(ctx context.Context, bridge string, inPort uint32, frames ...[]byte) error {
	if len(frames) == 0 {
		return nil
	}
	return c.talk(ctx, bridge, func(o *ofConn) error {
		for _, f := range frames {
			if _, err := o.send(ofPacketOut, packetOut(inPort, f)); err != nil {
				return fmt.Errorf("inject a frame into bridge %s: %w", bridge, err)
			}
		}
		refused, err := o.barrier()
		for _, r := range refused {
			err = r
		}
		if err != nil {
			return fmt.Errorf("inject a frame into bridge %s: %w", bridge, err)
		}
		return nil
	})
}

// packetOut is the body of a message with one action: through the tables.
func packetOut(inPort uint32, frame []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, ofNoBuffer)
	b = binary.BigEndian.AppendUint32(b, inPort)
	b = binary.BigEndian.AppendUint16(b, ofOutputLen)
	b = append(b, make([]byte, 6)...)
	b = append(b, 0, 0, 0, ofOutputLen) // action type 0 is output
	b = binary.BigEndian.AppendUint32(b, ofTable)
	b = binary.BigEndian.AppendUint16(b, ofWholePacket)
	b = append(b, make([]byte, 6)...)
	return append(b, frame...)
}
