package read

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ends knows the host's ends of the links of other network namespaces. What such an end
// counts does not move unless what the other end counts does, and the host's are read anyhow:
// the links of a container are read only when its ends moved, which for an idle one saves
// most of what its network costs.
type Ends struct {
	host  *Source
	names uint64          // of the links that the host had when they were listed
	of    map[int32][]int // places in the host's links by the id that the host has of a namespace
	lists uint64          // how many lists there were
	fd    int             // asks for these ids
}

// NewEnds knows no host yet. The caller closes it.
func NewEnds() (*Ends, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("ask for ids of namespaces: %w", err)
	}
	return &Ends{fd: fd}, nil
}

// Follow takes the ends from this source of the host, which is sampled before others are.
// None is known yet: all links are read.
func (e *Ends) Follow(host *Source) { e.host, e.of = host, nil }

// Close closes its socket.
func (e *Ends) Close() { _ = unix.Close(e.fd) } // nothing is left to say

// Names tells one list of the host's links from another. known says that the ends of
// this one are known.
func (e *Ends) Names() (names uint64, known bool) {
	return e.host.names, e.of != nil && e.names == e.host.names
}

// Know takes over what [ListEnds] found after the host had links of these names.
func (e *Ends) Know(names uint64, list []End) {
	e.names, e.of = names, map[int32][]int{}
	e.lists++
	for _, end := range list {
		for i := range e.host.links {
			if e.host.links[i].name == end.Name {
				e.of[end.Namespace] = append(e.of[end.Namespace], i)
			}
		}
	}
}

// quiet says that all links of a source have their other ends at the host, and that
// these did not move since the last sample.
func (e *Ends) quiet(s *Source) bool {
	if e == nil || e.of == nil || e.names != e.host.names || e.host.dev != e.host.round || !e.identify(s) {
		return false
	}
	ends := e.of[s.namespace-1]
	for _, i := range ends {
		if l := &e.host.links[i]; l.seen != e.host.round || l.moved {
			return false
		}
	}
	return len(ends) > 0 && len(ends) == s.own
}

// identify finds the id of a source's namespace, once: it stays the same as long as the source
// is open. A namespace gets one with its first link.
func (e *Ends) identify(s *Source) bool {
	if s.namespace == 0 && s.asked != e.lists && s.tcp.fd > 0 {
		s.asked = e.lists
		if id, err := e.id(s.tcp.fd); err == nil && id >= 0 {
			s.namespace = id + 1
		}
	}
	return s.namespace > 0
}

var errNoID = errors.New("the kernel tells no id of the namespace")

// id asks for the id of the namespace that a socket is in.
func (e *Ends) id(socket int) (int32, error) {
	ns, err := unix.IoctlRetInt(socket, unix.SIOCGSKNS)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(ns) }() // it was only asked for
	const attribute = unix.SizeofNlMsghdr + 4
	var req [attribute + unix.SizeofRtAttr + 4]byte
	binary.NativeEndian.PutUint32(req[0:], uint32(len(req)))
	binary.NativeEndian.PutUint16(req[4:], unix.RTM_GETNSID)
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint16(req[attribute:], unix.SizeofRtAttr+4)
	binary.NativeEndian.PutUint16(req[attribute+2:], unix.NETNSA_FD)
	binary.NativeEndian.PutUint32(req[attribute+4:], uint32(ns))
	if _, err := unix.Write(e.fd, req[:]); err != nil {
		return 0, err
	}
	var buf [512]byte
	n, _, err := unix.Recvfrom(e.fd, buf[:], unix.MSG_DONTWAIT) // the kernel answers while it is asked
	if err != nil {
		return 0, err
	}
	m := buf[:n]
	if len(m) < attribute+unix.SizeofRtAttr+4 || binary.NativeEndian.Uint16(m[4:]) != unix.RTM_NEWNSID ||
		binary.NativeEndian.Uint16(m[attribute+2:]) != unix.NETNSA_NSID {
		return 0, errNoID
	}
	return int32(binary.NativeEndian.Uint32(m[attribute+4:])), nil
}

// End is a link of the host whose other end is in another namespace.
type End struct {
	Name      string
	Namespace int32
}

// ListEnds lists them. It waits for the kernel's lock of all links, which others may hold for
// long, so nothing may wait for it.
func ListEnds() ([]End, error) {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var out []End
	for i := range messages {
		m := &messages[i]
		if m.Header.Type != unix.RTM_NEWLINK {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			return nil, fmt.Errorf("list links: %w", err)
		}
		end, veth := End{Namespace: -1}, false
		for _, a := range attrs {
			switch a.Attr.Type &^ unix.NLA_F_NESTED {
			case unix.IFLA_IFNAME:
				end.Name = unix.ByteSliceToString(a.Value)
			case unix.IFLA_LINK_NETNSID:
				if len(a.Value) >= 4 {
					end.Namespace = int32(binary.NativeEndian.Uint32(a.Value))
				}
			case unix.IFLA_LINKINFO: // its first attribute is the kind
				veth = len(a.Value) > 8 && binary.NativeEndian.Uint16(a.Value[2:]) == unix.IFLA_INFO_KIND && unix.ByteSliceToString(a.Value[4:]) == "veth"
			}
		}
		if veth && end.Namespace >= 0 {
			out = append(out, end)
		}
	}
	return out, nil
}
