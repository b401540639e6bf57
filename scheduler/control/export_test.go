package control

import (
	"maps"
	"slices"
)

// Heard are the hosts of which a leader keeps what it heard, and those with their usage.
func (c *Controller) Heard() (all, measured []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lead == nil {
		return nil, nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.lead.beats)) {
		if all = append(all, name); c.lead.beats[name].usage != nil {
			measured = append(measured, name)
		}
	}
	return all, measured
}
