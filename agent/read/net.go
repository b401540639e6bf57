package read

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/agent/metric"
)

// link is a network interface with its eight series from base on; one whose base
// is negative is not measured.
type link struct {
	name string
	base int
	// Of the host: in which round it was there last, what it counted then, and whether that
	// was news.
	seen  uint64
	count uint64
	moved bool
}

var netFiles = []file{ //nolint:gochecknoglobals // a constant table
	{name: "dev", many: true, when: linked, parse: netDev},
	{name: "sockstat", many: true, when: slow, parse: sockStat},
	{name: "sockstat6", many: true, when: slow, parse: sockStat},
	{name: "snmp", many: true, when: slow, parse: snmp},
}

// AddNet lets the source also count what the network namespace of a process does.
// Nothing enters the namespace but, once, a thread that opens a socket in it for
// the states of TCP. The namespace lives as long as the source is open. By ends, unless
// nil, is known when its links need not be read.
func (s *Source) AddNet(pid int, ends *Ends) error {
	s.ends = ends
	dir := "/proc/" + strconv.Itoa(pid)
	before := len(s.kept)
	err := s.tcp.open(dir + "/ns/net")
	for i := range netFiles {
		f := &netFiles[i]
		err = errors.Join(err, s.keep(f, dir+"/net/"+f.name))
	}
	if err == nil {
		return nil
	}
	for _, k := range s.kept[before:] {
		_ = unix.Close(k.fd) // it was only read
	}
	s.kept = s.kept[:before]
	s.tcp.close()
	return fmt.Errorf("network of process %d: %w", pid, err)
}

// netDev reads lines "  eth0: 1 2 3 …": 8 numbers of what was received, 8 of what
// was sent.
func netDev(s *Source, data []byte) {
	_, data = cut(data, '\n')
	_, data = cut(data, '\n')
	at, names := 0, mixOfNothing
	s.dev, s.own = s.round, 0
	for len(data) > 0 {
		var line []byte
		line, data = cut(data, '\n')
		name, rest := cut(line, ':')
		for len(name) > 0 && name[0] == ' ' {
			name = name[1:]
		}
		l := s.link(name, at)
		at++
		names = mix(mix(names, name), []byte{'/'})
		if !s.group {
			l.see(s.round, mix(mixOfNothing, rest))
		}
		l.seen = s.round
		if l.base < 0 {
			continue
		}
		s.own++
		for i := range 16 {
			v, r, ok := number(rest)
			if !ok {
				break
			}
			rest = r
			if half := i % 8; half < 4 { // bytes, packets, errors, dropped
				s.Point.SetAt(l.base+i/8*4+half, float64(v))
			}
		}
	}
	s.names = names
}

// see notes what an interface counts.
func (l *link) see(round, count uint64) {
	l.moved = count != l.count || l.seen == 0 || l.seen != round-1
	l.count = count
}

// keepLinks leaves the values of the interfaces that were there last as they are.
func (s *Source) keepLinks() {
	for i := range s.links {
		l := &s.links[i]
		for j := 0; l.base >= 0 && l.seen == s.dev && j < 8; j++ {
			s.Point.Series[l.base+j].OK = true
		}
	}
}

const mixOfNothing uint64 = 14695981039346656037

// mix is FNV-1a, which tells what changed from what did not.
func mix(of uint64, data []byte) uint64 {
	for _, c := range data {
		of = (of ^ uint64(c)) * 1099511628211
	}
	return of
}

// link returns the interface of a name, which it adds when it is not known. Lines
// keep their order, so it is looked for at its place first.
func (s *Source) link(name []byte, at int) *link {
	if at < len(s.links) && s.links[at].name == string(name) {
		return &s.links[at]
	}
	for i := range s.links {
		if s.links[i].name == string(name) {
			return &s.links[i]
		}
	}
	l := link{name: string(name), base: -1}
	if l.name != "lo" && (s.group || !endOfContainer(l.name)) {
		l.base = s.addFour(metric.NetRxBytes, l.name)
		s.addFour(metric.NetTxBytes, l.name)
	}
	s.links = append(s.links, l)
	return &s.links[len(s.links)-1]
}

// endOfContainer says that a link of the host is the other end of a container's,
// which is counted there: one of Docker's own, or a port or gateway's port of
// mosbridge.
func endOfContainer(name string) bool {
	ours := strings.HasPrefix(name, "mosp") || strings.HasPrefix(name, "mosr")
	return strings.HasPrefix(name, "veth") || ours && len(name) == len("mosp0123456789a")
}

// sockStat reads lines "TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 144", and of the
// file for IPv6 "TCP6: inuse 1", which adds to it. Orphans and allocated sockets are
// those of all namespaces.
func sockStat(s *Source, data []byte) {
	for len(data) > 0 {
		var line []byte
		line, data = cut(data, '\n')
		proto, rest := cut(line, ':')
		tcp, six := string(proto) == "TCP" || string(proto) == "TCP6", len(proto) == 4
		if !tcp && string(proto) != "UDP" && string(proto) != "UDP6" {
			continue
		}
		for len(rest) > 0 {
			var key []byte
			key, rest = word(rest)
			v, r, ok := number(rest)
			if !ok {
				break
			}
			rest = r
			switch {
			case string(key) == "inuse" && tcp:
				s.sum(metric.TCPInUse, v, six)
			case string(key) == "inuse":
				s.sum(metric.UDPInUse, v, six)
			case string(key) == "tw":
				s.Point.Set(metric.TCPTimeWait, float64(v))
			case string(key) == "orphan" && !s.group:
				s.Point.Set(metric.TCPOrphans, float64(v))
			case string(key) == "alloc" && !s.group:
				s.Point.Set(metric.TCPAllocated, float64(v))
			}
		}
	}
}

// snmp reads the second of the two lines that begin with a protocol: the first has
// the names. Columns have kept their places since they exist (net/ipv4/proc.c).
func snmp(s *Source, data []byte) {
	for len(data) > 0 {
		var line []byte
		line, data = cut(data, '\n')
		proto, rest := cut(line, ':')
		if len(rest) < 2 || rest[1] > '9' {
			continue
		}
		tcp := string(proto) == "Tcp"
		if !tcp && string(proto) != "Udp" {
			continue
		}
		for column := 0; len(rest) > 0; column++ {
			var w []byte
			w, rest = word(rest)
			v, _, ok := number(w)
			switch {
			case !ok: // MaxConn may be -1
			case !tcp && column == 2:
				s.Point.Set(metric.UDPReceiveErrors, float64(v))
			case !tcp:
			case column == 9:
				s.Point.Set(metric.TCPSegmentsIn, float64(v))
			case column == 10:
				s.Point.Set(metric.TCPSegmentsOut, float64(v))
			case column == 11:
				s.Point.Set(metric.TCPRetransmits, float64(v))
			case column == 13:
				s.Point.Set(metric.TCPResetsOut, float64(v))
			}
		}
	}
}
