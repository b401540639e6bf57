package mosbridge

import (
	"fmt"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// noteVersion remembers which engine answers; "" when none did.
func (d *Driver) noteVersion(v string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version = v
}

// canName refuses a name for the container's interface where the engine is
// known to ignore it: only engines after 29.7 do what a driver answers.
func (d *Driver) canName(name string) error {
	d.mu.Lock()
	v := d.version
	d.mu.Unlock()
	if name == "" || !ignoresNames(v) {
		return nil
	}
	return fault.Conflict("docker %s cannot name the interface of a network driver (%s): drop com.docker.network.endpoint.ifname or use docker 29.8 or newer", v, name)
}

// ignoresNames says whether an engine is one of those. Versions that are not
// of the released form, such as builds from source, are taken to be newer.
func ignoresNames(version string) bool {
	var major, minor int
	if n, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor); n != 2 || err != nil {
		return false
	}
	return major >= 17 && major < 29 || major == 29 && minor < 8
}
