package names

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Files that say which resolvers a host has. The second has those behind a stub of systemd on
// the loopback address.
const (
	resolvConf = "/etc/resolv.conf"
	behindStub = "/run/systemd/resolve/resolv.conf"
)

// resolvers are those of the host, as its file has them now.
type resolvers struct {
	path string

	mu    sync.Mutex // guards all below
	read  time.Time  // when the file was changed that was read
	known []string
}

func (r *resolvers) now() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, err := os.Stat(r.path)
	if err != nil {
		return r.known
	}
	if !at.ModTime().Equal(r.read) {
		if c, err := dns.ClientConfigFromFile(r.path); err == nil {
			r.read, r.known = at.ModTime(), nil
			for _, s := range c.Servers {
				r.known = append(r.known, net.JoinHostPort(s, c.Port))
			}
		}
	}
	return r.known
}

// mostFallbacks is how many servers stand behind ours: the Engine asks three at most.
const mostFallbacks = 2

// reachable are the host's resolvers that containers can ask themselves.
func reachable(paths ...string) []string {
	var all []string
	for _, path := range paths {
		c, err := dns.ClientConfigFromFile(path)
		if err != nil {
			continue
		}
		for _, s := range c.Servers {
			if a, err := netip.ParseAddr(s); err == nil && !a.IsLoopback() && a.Zone() == "" && len(all) < mostFallbacks {
				all = append(all, s)
			}
		}
		if len(all) > 0 {
			return all
		}
	}
	return all
}
