package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/internal/drivername"
)

// Limit is how long one question may take when its context has no earlier
// deadline. A hanging Engine must not hang those who ask.
const Limit = 20 * time.Second

// Engine is the address of a Docker Engine. Its methods may be called by several
// goroutines. Each call makes a connection of its own and finds the API version
// anew, since the Engine may have been replaced by another version meanwhile.
//
// Errors: [errdefs.ErrUnavailable] when the Engine does not answer,
// [errdefs.ErrFailedPrecondition] when it is older than 19.03.
type Engine struct {
	host string
}

// Version tells which Engine answers.
type Version struct {
	Engine string // such as 20.10.24+dfsg1
	API    string // the newest API version it speaks, such as 1.41
	MinAPI string // the oldest
}

// Network is a Docker network.
type Network struct {
	ID, Name   string
	Driver     string
	IPAMDriver string
	Internal   bool
	Subnets    []netip.Prefix
	Options    map[string]string // of the driver (-o)
	Endpoints  []Endpoint        // those in use; stopped containers have none
}

// Endpoint is a container's port in a network, as the network knows it.
type Endpoint struct {
	ID        string
	Container string // full id; empty for an endpoint that no container holds
	Name      string // name of the container
	IPv4      netip.Prefix
	IPv6      netip.Prefix
	MAC       string // lower case, empty when unknown
}

// Container is a container in any state.
type Container struct {
	ID, Name string // the name has no leading slash
	State    string // created, running, paused, restarting, removing, exited or dead
	Networks []Attachment
	Volumes  []VolumeUse
}

// VolumeUse is a volume that a container has mounted, or had when it ran.
type VolumeUse struct {
	Name     string
	Driver   string
	Writable bool
}

// Attachment is a container's place in one network. What the Engine does not
// know is empty: a container that never ran has at most a name and the wishes,
// a stopped one the network's id and the wishes.
type Attachment struct {
	Network     string // id
	NetworkName string
	Endpoint    string // id
	IPv4, IPv6  netip.Prefix
	WantIPv4    netip.Addr // asked for by --ip
	WantIPv6    netip.Addr // asked for by --ip6
	MAC         string     // lower case
}

// Open returns the Engine at host, such as unix:///run/docker.sock, the default
// when empty. It makes no connection; the Engine may start later.
func Open(host string) (*Engine, error) {
	if host == "" {
		host = client.DefaultDockerHost
	}
	if _, err := client.ParseHostURL(host); err != nil {
		return nil, fmt.Errorf("docker host %q: %w: it looks like unix:///run/docker.sock", host, errdefs.ErrInvalidArgument)
	}
	return &Engine{host: host}, nil
}

// Version returns which Engine answers.
func (e *Engine) Version(ctx context.Context) (Version, error) {
	var v Version
	err := e.do(ctx, "version", func(ctx context.Context, c *client.Client) error {
		r, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
		v = Version{Engine: r.Version, API: r.APIVersion, MinAPI: r.MinAPIVersion}
		return err
	})
	return v, err
}

// Networks returns the networks whose driver or IPAM driver is the given one,
// with their endpoints. A network that goes away meanwhile is left out.
func (e *Engine) Networks(ctx context.Context, driver string) ([]Network, error) {
	var out []Network
	err := e.do(ctx, "networks", func(ctx context.Context, c *client.Client) error {
		list, err := c.NetworkList(ctx, client.NetworkListOptions{})
		if err != nil {
			return err
		}
		for _, n := range list.Items {
			if !drivername.Is(n.Driver, driver) && !drivername.Is(n.IPAM.Driver, driver) {
				continue
			}
			one, err := c.NetworkInspect(ctx, n.ID, client.NetworkInspectOptions{})
			if errdefs.IsNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			out = append(out, networkOf(one.Network))
		}
		return nil
	})
	return out, err
}

func networkOf(n network.Inspect) Network {
	out := Network{
		ID: n.ID, Name: n.Name, Driver: n.Driver, IPAMDriver: n.IPAM.Driver,
		Internal: n.Internal, Options: n.Options,
	}
	for _, c := range n.IPAM.Config {
		out.Subnets = append(out.Subnets, c.Subnet)
	}
	for id, ep := range n.Containers {
		if strings.HasPrefix(id, "ep-") {
			id = ""
		}
		out.Endpoints = append(out.Endpoints, Endpoint{
			ID: ep.EndpointID, Container: id, Name: ep.Name,
			IPv4: ep.IPv4Address, IPv6: ep.IPv6Address, MAC: ep.MacAddress.String(),
		})
	}
	slices.SortFunc(out.Endpoints, func(a, b Endpoint) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Containers returns all containers, also those that do not run.
func (e *Engine) Containers(ctx context.Context) ([]Container, error) {
	var out []Container
	err := e.do(ctx, "containers", func(ctx context.Context, c *client.Client) error {
		list, err := c.ContainerList(ctx, client.ContainerListOptions{All: true})
		for _, s := range list.Items {
			one := Container{ID: s.ID, State: string(s.State)}
			for _, n := range s.Names {
				// Old-style links add names with two slashes.
				if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
					one.Name = n
				}
			}
			for _, m := range s.Mounts {
				if m.Type == mount.TypeVolume {
					one.Volumes = append(one.Volumes, VolumeUse{m.Name, m.Driver, m.RW})
				}
			}
			if s.NetworkSettings != nil {
				one.Networks = attachments(s.NetworkSettings.Networks)
			}
			out = append(out, one)
		}
		return err
	})
	return out, err
}

// Volumes returns the driver of each volume, by the name that containers get it by.
// The Engine asks its volume drivers for that.
func (e *Engine) Volumes(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	err := e.do(ctx, "volumes", func(ctx context.Context, c *client.Client) error {
		list, err := c.VolumeList(ctx, client.VolumeListOptions{})
		for _, v := range list.Items {
			out[v.Name] = v.Driver
		}
		return err
	})
	return out, err
}

func attachments(byName map[string]*network.EndpointSettings) []Attachment {
	var out []Attachment
	for name, n := range byName {
		if n == nil {
			continue
		}
		a := Attachment{
			Network: n.NetworkID, NetworkName: name, Endpoint: n.EndpointID, MAC: n.MacAddress.String(),
			IPv4: netip.PrefixFrom(n.IPAddress, n.IPPrefixLen), IPv6: netip.PrefixFrom(n.GlobalIPv6Address, n.GlobalIPv6PrefixLen),
		}
		if n.IPAMConfig != nil {
			a.WantIPv4, a.WantIPv6 = n.IPAMConfig.IPv4Address, n.IPAMConfig.IPv6Address
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Attachment) int { return strings.Compare(a.NetworkName, b.NetworkName) })
	return out
}

// Pause stops all processes of a container where they are. One that is paused
// is well.
func (e *Engine) Pause(ctx context.Context, id string) error {
	err := e.do(ctx, "container "+id+" to pause", func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerPause(ctx, id, client.ContainerPauseOptions{})
		return err
	})
	return unless(err, "already paused")
}

// Unpause lets a paused container go on. One that is not paused, or gone, is well.
func (e *Engine) Unpause(ctx context.Context, id string) error {
	err := e.do(ctx, "container "+id+" to go on", func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
		return err
	})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return unless(err, "not paused", "not running")
}

// unless drops an error that says that what was asked for is so already. Engines
// give it no class of its own.
func unless(err error, words ...string) error {
	for _, w := range words {
		if err != nil && strings.Contains(err.Error(), w) {
			return nil
		}
	}
	return err
}

// do asks one question on a connection of its own.
func (e *Engine) do(ctx context.Context, what string, ask func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, Limit, fmt.Errorf("no answer within %s: %w", Limit, errdefs.ErrUnavailable))
	defer cancel()
	c, err := client.New(client.WithHost(e.host))
	if err != nil {
		return fmt.Errorf("docker engine %s: %w", e.host, err)
	}
	defer func() { _ = c.Close() }() // only frees idle connections
	ping, err := c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	if err == nil {
		err = ask(ctx, c)
	} else if errdefs.IsInvalidArgument(err) {
		err = fmt.Errorf("engine speaks API %s only: upgrade it to 20.10 or newer: %w (%w)", ping.APIVersion, errdefs.ErrFailedPrecondition, err)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case client.IsErrConnectionFailed(err):
		err = fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
	}
	return fmt.Errorf("ask docker engine %s for its %s: %w", e.host, what, err)
}
