package control

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/place"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// owned is what hosts told of their images and ports. Only a leader hears of it; a list of
// the store does not touch it.
type owned struct {
	holdings map[string]*holding // by host
	images   map[string]*image   // by name
	imaged   int                 // how often layers of a name became known or others
}

// holding is of one host.
type holding struct {
	layers []place.LayerID
	ports  []place.Port
	images []*image
}

// image is one by its name. Its layers are as one of its hosts has them: a tag may stand for
// different images on two.
type image struct {
	name   string
	layers []place.Layer
	from   string // the host that told them, "" if it has it no more
	hosts  int
}

func newOwned() owned { return owned{holdings: map[string]*holding{}, images: map[string]*image{}} }

// setHolding takes over what a host told, nil if nothing is known of it any more.
func (c *cache) setHolding(host string, told *link.Holding) {
	was := c.holdings[host]
	if was == nil && told == nil {
		return
	}
	delete(c.holdings, host)
	if told != nil {
		c.holdings[host] = c.newHolding(host, told)
	}
	if was != nil && told != nil && told.Kept {
		c.holdings[host].layers, c.holdings[host].images = was.layers, was.images
	} else if was != nil {
		c.letGo(host, was)
	}
	if h := c.hosts[host]; h != nil {
		c.cluster.SetHost(c.asPlaced(h))
		c.roomier = true // a port may be free
	}
}

// newHolding keeps to the link's bounds, whatever the host told.
func (c *cache) newHolding(host string, told *link.Holding) *holding {
	to := &holding{}
	room, tags := link.MostLayers, link.MostTags
	for _, i := range told.Images[:min(len(told.Images), link.MostImages)] {
		if room -= len(i.Layers); room < 0 {
			break
		}
		layers := make([]place.Layer, 0, len(i.Layers))
		for _, l := range i.Layers {
			layers = append(layers, place.Layer{ID: place.LayerOf(l.ID), Bytes: max(min(l.Bytes, 1<<40), 0)})
			to.layers = append(to.layers, layers[len(layers)-1].ID)
		}
		for _, name := range i.Names {
			if len(name) > link.MostName || tags == 0 {
				continue
			}
			tags--
			to.layers = append(to.layers, place.LayerOf(name))
			to.images = append(to.images, c.learn(host, name, layers))
		}
	}
	slices.Sort(to.layers)
	to.layers, to.images = slices.Clone(slices.Compact(to.layers)), slices.Clip(to.images)
	for _, p := range told.Ports[:min(len(told.Ports), link.MostPorts)] {
		if port, ok := portOf(p); ok {
			to.ports = append(to.ports, port)
		}
	}
	return to
}

// portOf reads what a host told of a port. Of others than tcp and udp no set has one.
func portOf(told string) (p place.Port, ok bool) {
	protocol, at, _ := strings.Cut(told, "/")
	for _, known := range []string{"tcp", "udp"} {
		if protocol == known {
			p.Protocol = known // of the report nothing is kept
		}
	}
	if number, err := strconv.ParseUint(at, 10, 16); err == nil {
		p.Number = uint16(number)
	} else if one, err := netip.ParseAddrPort(at); err == nil {
		p.Number, p.At = one.Port(), one.Addr().Unmap().WithZone("")
	}
	return p, p.Protocol != "" && p.Number != 0
}

// learn counts a host of an image, and takes its layers over where nobody's are known.
func (c *cache) learn(host, name string, layers []place.Layer) *image {
	i := c.images[name]
	if i == nil {
		i = &image{name: strings.Clone(name)} // of the report nothing is kept
		c.images[i.name] = i
	}
	i.hosts++
	if i.from != "" && i.from != host {
		return i
	}
	own, id := slices.Clone(layers), place.LayerOf(name)
	for n := range own {
		own[n].Image = id
	}
	i.from = host
	if !slices.Equal(own, i.layers) {
		i.layers = own
		c.imaged++
	}
	return i
}

// letGo takes a host's images off what is known, but for those that it still has.
func (c *cache) letGo(host string, was *holding) {
	has := c.holdings[host]
	for _, i := range was.images {
		if i.hosts--; i.hosts == 0 {
			delete(c.images, i.name)
			c.imaged++
		}
		if i.from == host && (has == nil || !slices.Contains(has.images, i)) {
			i.from = ""
		}
	}
}

// holdOnly lets go of all hosts but those of the cluster.
func (c *cache) holdOnly(hosts map[string]*api.Host) {
	for host := range c.holdings {
		if hosts[host] == nil {
			c.setHolding(host, nil)
		}
	}
}

// pulling is what a set of a template needs of its host, its images too. Sets of one template
// share it until other layers become known.
func (c *cache) pulling(of *service, hash string, set *spec.Set) (*place.Ask, error) {
	a, err := of.ask(hash, set)
	if err != nil {
		return nil, err
	}
	had, known := of.pulls[hash]
	if known && had.of == a && had.imaged == c.imaged {
		return had.ask, nil
	}
	now := pull{of: a, ask: c.withImages(a, set), imaged: c.imaged}
	if known && had.of == a && slices.Equal(had.ask.Layers, now.ask.Layers) {
		now.ask = had.ask
	}
	if of.pulls == nil {
		of.pulls = map[string]pull{}
	}
	of.pulls[hash] = now
	return now.ask, nil
}

// pull is an ask with its images, as of a time.
type pull struct {
	of, ask *place.Ask
	imaged  int
}

// withImages adds the layers of a set's images, as far as any host has those.
func (c *cache) withImages(a *place.Ask, set *spec.Set) *place.Ask {
	var layers []place.Layer
	add := func(name string) {
		i := c.images[tagged(name)]
		if i == nil {
			return
		}
		for _, l := range i.layers {
			if !slices.ContainsFunc(layers, func(had place.Layer) bool { return had.ID == l.ID }) {
				layers = append(layers, l)
			}
		}
	}
	add(set.Infra.Image)
	for _, one := range set.Containers {
		add(one.Image)
	}
	if len(layers) == 0 {
		return a
	}
	own := *a
	own.Layers = layers
	return &own
}

// tagged is an image's name as Engines list it.
func tagged(name string) string {
	n, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	if d, is := n.(reference.Canonical); is {
		return reference.FamiliarName(n) + "@" + d.Digest().String()
	}
	return reference.FamiliarString(reference.TagNameOnly(n))
}
