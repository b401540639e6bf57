package names

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/netutil"
)

// Bounds of what is answered.
const (
	mostUDP     = 1232 // bytes of an answer by UDP, whatever who asks says
	leastUDP    = 512
	askedAtOnce = 64 // questions of one set that are with other servers
	askLimit    = 2 * time.Second
	// connectionsAtOnce are those of one set by TCP: each takes a descriptor of mosd's.
	connectionsAtOnce = 32
	idleTCP           = 5 * time.Second
	mostTCP           = 128 // questions of one connection
)

// listener answers one set.
type listener struct {
	set    string
	in     netnsID
	udp    *dns.Server
	tcp    *dns.Server
	asking chan struct{}
	done   sync.WaitGroup
}

// answerer is what listeners share.
type answerer struct {
	zone     atomic.Pointer[zone]
	turn     atomic.Uint32
	upstream func() []string // servers with their port
}

// serve answers a set at two sockets until [listener.close].
func (a *answerer) serve(set string, in netnsID, udp net.PacketConn, tcp net.Listener) *listener {
	l := &listener{set: set, in: in, asking: make(chan struct{}, askedAtOnce)}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) { a.handle(l, w, req) })
	l.udp = &dns.Server{PacketConn: udp, Handler: h, UDPSize: dns.DefaultMsgSize}
	l.tcp = &dns.Server{
		Listener: netutil.LimitListener(tcp, connectionsAtOnce), Handler: h, ReadTimeout: idleTCP, WriteTimeout: idleTCP, MaxTCPQueries: mostTCP,
		IdleTimeout: func() time.Duration { return idleTCP },
	}
	for _, s := range []*dns.Server{l.udp, l.tcp} {
		var begun sync.WaitGroup
		begun.Add(1)
		s.NotifyStartedFunc = begun.Done
		l.done.Go(func() { _ = s.ActivateAndServe() }) // it ends when it is closed
		begun.Wait()
	}
	return l
}

// close ends the sockets. Questions under way end by themselves; done says when.
func (l *listener) close(ctx context.Context) {
	gone, cancel := context.WithCancel(ctx)
	cancel() // they are not waited for
	_ = l.udp.ShutdownContext(gone)
	_ = l.tcp.ShutdownContext(gone)
}

func (a *answerer) handle(l *listener, w dns.ResponseWriter, req *dns.Msg) {
	m := a.reply(l, w, req)
	if opt := req.IsEdns0(); opt != nil && m.IsEdns0() == nil {
		m.SetEdns0(mostUDP, false)
	}
	if _, isUDP := w.LocalAddr().(*net.UDPAddr); isUDP {
		size := leastUDP
		if opt := req.IsEdns0(); opt != nil {
			size = min(max(int(opt.UDPSize()), leastUDP), mostUDP)
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m) // who asked may be gone
}

func (a *answerer) reply(l *listener, w dns.ResponseWriter, req *dns.Msg) *dns.Msg {
	z := a.zone.Load()
	refuse := func(code int) *dns.Msg { return new(dns.Msg).SetRcode(req, code) }
	switch {
	case req.Opcode != dns.OpcodeQuery:
		return refuse(dns.RcodeNotImplemented)
	case len(req.Question) != 1:
		return refuse(dns.RcodeFormatError)
	case req.Question[0].Qtype == dns.TypeAXFR || req.Question[0].Qtype == dns.TypeIXFR:
		return refuse(dns.RcodeRefused)
	}
	if q := req.Question[0]; z.ours(q.Name) {
		if q.Qclass != dns.ClassINET {
			return refuse(dns.RcodeRefused)
		}
		return z.answer(l.set, req, a.turn.Add(1))
	} else if m, known := z.reverse(l.set, req); known {
		return m
	}
	select {
	case l.asking <- struct{}{}:
		defer func() { <-l.asking }()
	default:
		return refuse(dns.RcodeServerFailure) // others of the set ask too much already
	}
	m, err := a.forward(w.LocalAddr().Network(), req)
	if err != nil {
		return refuse(dns.RcodeServerFailure)
	}
	return m
}

// forward asks the host's resolvers, one after the other.
func (a *answerer) forward(by string, req *dns.Msg) (*dns.Msg, error) {
	c := dns.Client{Net: by, Timeout: askLimit, UDPSize: dns.DefaultMsgSize}
	err := errors.New("the host has no resolver")
	for _, server := range a.upstream() {
		var m *dns.Msg
		if m, _, err = c.Exchange(req, server); err == nil && m.Rcode != dns.RcodeServerFailure {
			return m, nil
		}
		if err == nil {
			err = errors.New("server failure")
		}
	}
	return nil, err
}
