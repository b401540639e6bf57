// Package drivername knows by which names an Engine calls a driver of ours.
package drivername

import (
	"path"
	"strings"
)

// Is says whether have names the driver. A managed plugin shows as NAME:TAG, with
// the registry and folder that it came from where it was installed without an alias:
// 127.0.0.1:5000/mosbridge:latest.
func Is(have, driver string) bool {
	name, _, _ := strings.Cut(path.Base(have), ":")
	return name == driver
}
