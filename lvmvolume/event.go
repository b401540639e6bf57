package lvmvolume

import (
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/api"
)

type event = api.Event

// eventsKept is how many events are remembered.
const eventsKept = 500

// event remembers what the daemon did by itself, for `docker mos volume events`.
func (d *Driver) event(level, kind, object, detail string) {
	d.metrics.events.WithLabelValues(kind, level).Inc()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, event{Time: time.Now(), Level: level, Kind: kind, Object: object, Detail: detail})
	if len(d.events) > eventsKept {
		d.events = d.events[len(d.events)-eventsKept:]
	}
}
