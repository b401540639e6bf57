package api

import (
	"context"
	"time"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// Disk is what takes the space of a host, at the last look. Sizes are in bytes.
type Disk struct {
	At time.Time `json:"at"`
	// Store is the file system of the Engine's folder: of images, of what containers write
	// into their own, and of volumes of the driver "local".
	Store FileSystem `json:"store"`
	// Images is nil when nobody can tell.
	Images *Images `json:"images,omitempty"`
	// Pools and Volumes are those of mos-lvm; without it there are none.
	Pools   []Pool       `json:"pools"`
	Volumes []DiskVolume `json:"volumes"`
	// Faults says of store, images, pools and volumes why they could not be looked at.
	Faults map[string]string `json:"faults,omitempty"`
}

// FileSystem is the space of a file system, as statfs(2) tells it.
type FileSystem struct {
	Path       string `json:"path"`
	Size       uint64 `json:"size"`
	Used       uint64 `json:"used"`
	Available  uint64 `json:"available"` // to others than root
	Inodes     uint64 `json:"inodes"`
	InodesFree uint64 `json:"inodesFree"`
}

// Images are those that an Engine keeps.
type Images struct {
	Count int `json:"count"`
	// Size is that of their layers, each once.
	Size uint64 `json:"size"`
}

// Pool is where volumes get their space: a thin pool, the free part of a volume group, or
// a folder of images.
type Pool struct {
	Name  string   `json:"name"`
	Types []string `json:"types"` // of volumes
	State string   `json:"state"`
	Error string   `json:"error,omitempty"`
	Size  uint64   `json:"size"`
	Used  uint64   `json:"used"`
	// Data and Meta are how full it and its metadata are, 0 to 1.
	Data     float64 `json:"data"`
	Meta     float64 `json:"meta"`
	Free     uint64  `json:"free"`     // of the volume group
	Promised uint64  `json:"promised"` // sum of the volumes' and snapshots' sizes
}

// DiskVolume is the space of one volume.
type DiskVolume struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Size      uint64 `json:"size"`      // hard limit
	Allocated uint64 `json:"allocated"` // what it takes of its pool
	// Used and Available are of its file system when that was last Seen mounted.
	Used       uint64    `json:"used"`
	Available  uint64    `json:"available"`
	InodesFree uint64    `json:"inodesFree"`
	Seen       time.Time `json:"seen,omitzero"`
}

// Disk asks what takes the space.
func (c *Client) Disk(ctx context.Context) (Disk, error) {
	return adminapi.Get[Disk](ctx, c.c, "/v1/disk")
}
