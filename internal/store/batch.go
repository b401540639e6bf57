package store

import "errors"

// call is one caller of Batch who waits for its commit.
type call struct {
	fn   func(*Tx) error
	done chan error // holds one
}

// errAlone tells a caller whose function failed to run it alone, so that its
// failure, or panic, is its own.
var errAlone = errors.New("run alone")

// Batch is like [DB.Update], but calls that arrive while another commits share
// the next commit and its syncs. Nobody waits for a batch to fill. Because a
// failing neighbor makes the others run again, fn may be called more than once,
// and by another goroutine; it must have no effect but on the transaction, or
// one that a later call overwrites.
func (d *DB) Batch(fn func(*Tx) error) error {
	c := &call{fn: fn, done: make(chan error, 1)}
	d.queueMu.Lock()
	d.queue = append(d.queue, c)
	d.queueMu.Unlock()

	d.lead()
	if err := <-c.done; !errors.Is(err, errAlone) {
		return err
	}
	return d.Update(fn)
}

// lead commits all calls that are queued once it is its turn; a leader before
// may have taken them already.
func (d *DB) lead() {
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	d.queueMu.Lock()
	calls := d.queue
	d.queue = nil
	d.queueMu.Unlock()

	for len(calls) > 0 {
		bad := -1
		err := d.Update(func(tx *Tx) error {
			for i, c := range calls {
				if !well(tx, c.fn) {
					bad = i
					return errAlone
				}
			}
			return nil
		})
		if bad < 0 {
			for _, c := range calls {
				c.done <- err
			}
			return
		}
		calls[bad].done <- errAlone
		calls = append(calls[:bad:bad], calls[bad+1:]...)
	}
}

// well reports whether fn neither fails nor panics.
func well(tx *Tx, fn func(*Tx) error) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return fn(tx) == nil
}
