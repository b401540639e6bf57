package request

import (
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
)

// The bodies have the types of the newest API, with the fields that older ones
// had and newer ones lost: an Engine of their age reads these.

// Create is the body of a container's creation.
type Create struct {
	Config
	HostConfig       *HostConfig
	NetworkingConfig *Networking
}

// Config is the portable half of a container.
type Config struct {
	container.Config
	MacAddress string // until 1.44
}

// HostConfig is the other half.
type HostConfig struct {
	container.HostConfig
	Legacy
}

// Legacy is the limits that are gone.
type Legacy struct {
	KernelMemory    int64 // until 1.42
	KernelMemoryTCP int64 // until 1.42
	DiskQuota       int64 // until 1.25
}

// Networking is the networks that a container is made in.
type Networking struct {
	EndpointsConfig map[string]*network.EndpointSettings
}

// Update is the body of a container's update.
type Update struct {
	container.UpdateConfig
	Legacy
}

// NetworkCreate is the body of a network's creation.
type NetworkCreate struct {
	network.CreateRequest
	CheckDuplicate *bool // until 1.44
}

// VolumeCreate is the body of a volume's creation.
type VolumeCreate = volume.CreateRequest

// ExecCreate is the body of the first half of docker exec.
type ExecCreate struct {
	container.ExecCreateRequest
	Detach bool // until 1.42
}

// ExecStart is the body of its second half.
type ExecStart = container.ExecStartRequest

// Connect is the body of a container's joining of a network.
type Connect = network.ConnectRequest

// Disconnect is the body of its leaving.
type Disconnect = network.DisconnectRequest
