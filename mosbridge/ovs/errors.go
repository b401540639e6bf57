package ovs

import (
	"errors"
	"fmt"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// errLost is behind the error of a call whose connection broke: whether it was
// done is not known.
var errLost = errors.New("connection lost")

func (c *Client) unavailable(err error) error {
	return fault.Unavailable("open vswitch does not answer on %s: start openvswitch-switch: %w", c.dbPath(), err)
}

func silent(what string) error {
	return fault.Unavailable("%s: ovs-vswitchd does not answer: start openvswitch-switch", what)
}

// opError is the database's refusal of one operation.
type opError struct{ op, table, name, details string }

func (e *opError) Error() string {
	return fmt.Sprintf("%s in table %s: %s: %s", e.op, e.table, e.name, e.details)
}

// timedOut says that a wait operation met its end.
func timedOut(err error) bool {
	var e *opError
	return errors.As(err, &e) && e.name == "timed out"
}
