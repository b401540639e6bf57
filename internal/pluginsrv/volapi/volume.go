package volapi

import (
	"errors"
	"log/slog"
)

// NameRequest is what Remove, Path and Get are asked with.
type NameRequest struct {
	Name string
}

// Validate reports a missing name.
func (r NameRequest) Validate() error { return need(r.Name) }

// LogAttrs returns what a log line tells of the call.
func (r NameRequest) LogAttrs() []slog.Attr { return []slog.Attr{slog.String("volume", r.Name)} }

// CreateRequest is `docker volume create`. Opts holds the user's -o values.
type CreateRequest struct {
	Name string
	Opts map[string]string
}

// Validate reports a missing name.
func (r CreateRequest) Validate() error { return need(r.Name) }

// LogAttrs returns what a log line tells of the call.
func (r CreateRequest) LogAttrs() []slog.Attr { return []slog.Attr{slog.String("volume", r.Name)} }

// MountRequest is what Mount and Unmount are asked with. ID tells users apart.
type MountRequest struct {
	Name string
	ID   string
}

// Validate reports a missing name. An ID may be missing: old Engines sent none.
func (r MountRequest) Validate() error { return need(r.Name) }

// LogAttrs returns what a log line tells of the call.
func (r MountRequest) LogAttrs() []slog.Attr {
	return []slog.Attr{slog.String("volume", r.Name), slog.String("id", r.ID)}
}

func need(name string) error {
	if name == "" {
		return errors.New("the name of the volume is missing")
	}
	return nil
}

// MountResponse answers Mount and Path. It is empty for a volume that is not
// mounted.
type MountResponse struct {
	Mountpoint string
}

// Volume is one volume as Get and List tell it.
type Volume struct {
	Name       string
	Mountpoint string         `json:",omitempty"`
	CreatedAt  string         `json:",omitempty"` // RFC 3339; an empty text would not be read
	Status     map[string]any `json:",omitempty"` // of Get only; shown by docker volume inspect
}

// GetResponse answers Get.
type GetResponse struct {
	Volume *Volume
}

// ListResponse answers List.
type ListResponse struct {
	Volumes []Volume
}

// CapabilitiesResponse answers Capabilities.
type CapabilitiesResponse struct {
	Capabilities Capability
}

// Capability says where a volume is known.
type Capability struct {
	Scope string // local or global
}
