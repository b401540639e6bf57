package names

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

func known() link.Names {
	return link.Names{Revision: 9, Networks: map[string][]link.Name{
		"prod": {
			{Set: "web-1", Service: "web", Addresses: []string{"10.9.0.21", "fd00:9::21"}, Ready: true, Ports: []string{"tcp/80"}},
			{Set: "web-2", Service: "web", Addresses: []string{"10.9.0.22", "fd00:9::22"}, Ready: true, Ports: []string{"tcp/80"}},
			{Set: "web-3", Service: "web", Addresses: []string{"10.9.0.23"}, Ports: []string{"tcp/80"}},
			{Set: "idle-1", Service: "idle", Addresses: []string{"10.9.0.31"}},
		},
		"bank": {{Set: "vault-1", Service: "vault", Addresses: []string{"10.8.0.2"}, Ready: true}},
		"big":  {{Set: "many-1", Service: "many", Addresses: []string{"10.7.0.2"}, Ready: true}},
	}, Cut: []string{"big"}}
}

// started is a server that answers a set at addresses of this machine.
func started(t *testing.T, set string, upstream ...string) (udp, tcp string, a *answerer) {
	t.Helper()
	u, l, err := listenHere(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a = &answerer{upstream: func() []string { return upstream }}
	a.zone.Store(newZone("mos.internal", known()))
	x := a.serve(set, netnsID{}, u, l)
	t.Cleanup(func() { x.close(context.Background()); x.done.Wait() })
	return u.LocalAddr().String(), l.Addr().String(), a
}

func ask(t *testing.T, by, server, name string, kind uint16) *dns.Msg {
	t.Helper()
	req := new(dns.Msg).SetQuestion(name, kind)
	c := dns.Client{Net: by, Timeout: 5 * time.Second}
	m, _, err := c.Exchange(req, server)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

// short is what an answer says, without its order.
func short(m *dns.Msg) string {
	var all []string
	for _, rr := range m.Answer {
		all = append(all, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(all)
	return strings.TrimSpace(dns.RcodeToString[m.Rcode] + " " + strings.Join(all, ","))
}

// TestAnswers is the protocol, by UDP and TCP alike.
func TestAnswers(t *testing.T) {
	udp, tcp, _ := started(t, "web-1")
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web.mos.internal.", dns.TypeA, "NOERROR 10.9.0.21,10.9.0.22"},
		{"web.mos.internal.", dns.TypeAAAA, "NOERROR fd00:9::21,fd00:9::22"},
		{"WEB.mos.Internal.", dns.TypeA, "NOERROR 10.9.0.21,10.9.0.22"},
		{"web-2.web.mos.internal.", dns.TypeA, "NOERROR 10.9.0.22"},
		{"web-3.web.mos.internal.", dns.TypeA, "NOERROR 10.9.0.23"}, // not ready, and known by its own name
		{"web-3.web.mos.internal.", dns.TypeAAAA, "NOERROR"},        // there is such a name, without such an address
		{"web.mos.internal.", dns.TypeMX, "NOERROR"},
		{"idle.mos.internal.", dns.TypeA, "NOERROR"}, // nothing of it is ready
		{"mos.internal.", dns.TypeA, "NOERROR"},
		{"_tcp.web.mos.internal.", dns.TypeA, "NOERROR"},
		{"nope.mos.internal.", dns.TypeA, "NXDOMAIN"},
		{"web-1.idle.mos.internal.", dns.TypeA, "NXDOMAIN"},
		{"a.web-1.web.mos.internal.", dns.TypeA, "NXDOMAIN"},
		{"vault.mos.internal.", dns.TypeA, "NXDOMAIN"}, // in no network of the one who asks
		{"_http._tcp.web.mos.internal.", dns.TypeSRV, "NOERROR 0 1 80 web-1.web.mos.internal.,0 1 80 web-2.web.mos.internal."},
		{"_80._tcp.web.mos.internal.", dns.TypeSRV, "NOERROR 0 1 80 web-1.web.mos.internal.,0 1 80 web-2.web.mos.internal."},
		{"_81._tcp.web.mos.internal.", dns.TypeSRV, "NXDOMAIN"},
		{"21.0.9.10.in-addr.arpa.", dns.TypePTR, "NOERROR web-1.web.mos.internal."},
		{"1.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR, "NOERROR web-1.web.mos.internal."},
		{"web.mos.internal.", dns.TypeANY, "NOTIMP"},
		{"web.mos.internal.", dns.TypeAXFR, "REFUSED"},
		{"example.org.", dns.TypeA, "SERVFAIL"}, // the host has no resolver
	} {
		for by, server := range map[string]string{"udp": udp, "tcp": tcp} {
			m := ask(t, by, server, c.name, c.kind)
			if got := short(m); got != c.want {
				t.Errorf("%s %s by %s: %s, wanted %s", c.name, dns.TypeToString[c.kind], by, got, c.want)
			}
			negative := m.Rcode == dns.RcodeNameError || m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0
			if negative != (len(m.Ns) == 1 && m.Ns[0].Header().Rrtype == dns.TypeSOA) {
				t.Errorf("%s %s: the authority is %v", c.name, dns.TypeToString[c.kind], m.Ns)
			}
			for _, rr := range m.Answer {
				if rr.Header().Ttl != ttl {
					t.Errorf("%s is kept for %d s", c.name, rr.Header().Ttl)
				}
			}
		}
	}
}

// TestNamesThatAreCutAreNotDenied: what may be is no NXDOMAIN.
func TestNamesThatAreCutAreNotDenied(t *testing.T) {
	udp, _, _ := started(t, "many-1")
	if got := short(ask(t, "udp", udp, "many.mos.internal.", dns.TypeA)); got != "NOERROR 10.7.0.2" {
		t.Error(got)
	}
	if got := short(ask(t, "udp", udp, "other.mos.internal.", dns.TypeA)); got != "SERVFAIL" {
		t.Error(got)
	}
}

func TestAddressesTakeTurns(t *testing.T) {
	udp, _, _ := started(t, "web-1")
	first := map[string]int{}
	for range 10 {
		first[ask(t, "udp", udp, "web.mos.internal.", dns.TypeA).Answer[0].(*dns.A).A.String()]++
	}
	if first["10.9.0.21"] != 5 || first["10.9.0.22"] != 5 {
		t.Errorf("first are %v", first)
	}
}

// TestLargeAnswersAreCut: by UDP to what who asks can take, and whole by TCP.
func TestLargeAnswersAreCut(t *testing.T) {
	udp, tcp, a := started(t, "s-1")
	var sets []link.Name
	for i := range 200 {
		sets = append(sets, link.Name{Set: fmt.Sprintf("s-%d", i), Service: "s", Addresses: []string{fmt.Sprintf("10.9.1.%d", i)}, Ready: true})
	}
	a.zone.Store(newZone("mos.internal", link.Names{Networks: map[string][]link.Name{"prod": sets}}))
	if m := sized(ask(t, "udp", udp, "s.mos.internal.", dns.TypeA)); !m.Truncated || m.Len() > leastUDP {
		t.Errorf("by UDP it has %d bytes, cut: %t", m.Len(), m.Truncated)
	}
	if m := ask(t, "tcp", tcp, "s.mos.internal.", dns.TypeA); m.Truncated || len(m.Answer) != 200 {
		t.Errorf("by TCP it has %d answers, cut: %t", len(m.Answer), m.Truncated)
	}
	req := new(dns.Msg).SetQuestion("s.mos.internal.", dns.TypeA)
	req.SetEdns0(4096, false)
	m, _, err := (&dns.Client{UDPSize: 4096}).Exchange(req, udp)
	if err != nil || !m.Truncated || sized(m).Len() > mostUDP || m.IsEdns0() == nil || m.Len() < leastUDP {
		t.Errorf("with EDNS it has %d bytes: %v", m.Len(), err)
	}
}

// sized has an answer be as long as it was on the wire.
func sized(m *dns.Msg) *dns.Msg { m.Compress = true; return m }

// TestOthersAreAskedOn: what is not of the domain goes to the host's resolvers, the next one
// where the first fails, and not more at once than a set may.
func TestOthersAreAskedOn(t *testing.T) {
	var asked atomic.Int32
	release := make(chan struct{})
	upstream := func(h dns.HandlerFunc) string {
		u, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &dns.Server{PacketConn: u, Handler: h}
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
		return u.LocalAddr().String()
	}
	broken := upstream(func(w dns.ResponseWriter, r *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(r, dns.RcodeServerFailure))
	})
	whole := upstream(func(w dns.ResponseWriter, r *dns.Msg) {
		asked.Add(1)
		if strings.HasPrefix(r.Question[0].Name, "slow") {
			<-release
		}
		m := new(dns.Msg)
		m.SetReply(r)
		m.Answer = []dns.RR{&dns.A{Hdr: header(r.Question[0].Name, dns.TypeA), A: net.IPv4(192, 0, 2, 7)}}
		_ = w.WriteMsg(m)
	})
	udp, _, _ := started(t, "web-1", broken, whole)
	if got := short(ask(t, "udp", udp, "example.org.", dns.TypeA)); got != "NOERROR 192.0.2.7" {
		t.Error(got)
	}
	if got := short(ask(t, "udp", udp, "99.0.9.10.in-addr.arpa.", dns.TypePTR)); got != "NOERROR 192.0.2.7" || asked.Load() != 2 {
		t.Errorf("an address that nobody has: %s after %d questions", got, asked.Load())
	}
	c, err := net.Dial("udp", udp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	refused := 0
	for i := range askedAtOnce + 5 {
		data, err := new(dns.Msg).SetQuestion(fmt.Sprintf("slow%d.example.org.", i), dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	for buf := make([]byte, 1500); refused < 5; refused++ {
		n, err := c.Read(buf)
		m := new(dns.Msg)
		if err = errors.Join(err, m.Unpack(buf[:n])); err != nil || m.Rcode != dns.RcodeServerFailure {
			t.Fatalf("beyond the limit: %v, %v", m, err)
		}
	}
	if got := short(ask(t, "udp", udp, "web-2.web.mos.internal.", dns.TypeA)); got != "NOERROR 10.9.0.22" {
		t.Errorf("names of the cluster wait for others: %s", got)
	}
	close(release)
}

func TestBadQuestionsAreRefused(t *testing.T) {
	udp, _, _ := started(t, "web-1")
	two := new(dns.Msg).SetQuestion("web.mos.internal.", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	update := new(dns.Msg).SetUpdate("mos.internal.")
	chaos := new(dns.Msg).SetQuestion("web.mos.internal.", dns.TypeA)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	for want, req := range map[int]*dns.Msg{dns.RcodeFormatError: two, dns.RcodeNotImplemented: update, dns.RcodeRefused: chaos} {
		m, _, err := new(dns.Client).Exchange(req, udp)
		if err != nil || m.Rcode != want {
			t.Errorf("%v: %v, %v", req.Question, m, err)
		}
	}
}

// TestNamesOutliveMosd: what was told is answered by the next mosd, which has heard nobody.
func TestNamesOutliveMosd(t *testing.T) {
	dir := t.TempDir()
	s, err := Open("mos.internal", dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Take(known()); err != nil {
		t.Fatal(err)
	}
	next, err := Open("mos.internal", dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m := next.zone.Load().answer("web-1", new(dns.Msg).SetQuestion("web-2.web.mos.internal.", dns.TypeA), 0)
	if got := short(m); got != "NOERROR 10.9.0.22" {
		t.Error(got)
	}
	if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(`{"version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("mos.internal", dir, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a later version: %v", err)
	}
}

// TestSetsThatAsk: those with an address of the cluster's and no servers of their own.
func TestSetsThatAsk(t *testing.T) {
	s, err := Open("mos.internal", t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.rec.Fallback = []string{"192.0.2.53"}
	for _, c := range []struct {
		set  spec.Set
		want string
	}{
		{spec.Set{Network: spec.Network{Name: "prod", IP: "10.9.0.21"}}, Loopback + " 192.0.2.53"},
		{spec.Set{Networks: []spec.Network{{Name: "prod", IP6: "fd00:9::21"}}}, Loopback + " 192.0.2.53"},
		{spec.Set{Network: spec.Network{Name: "prod"}}, ""},
		{spec.Set{Network: spec.Network{Name: "prod", IP: "10.9.0.21"}, DNS: spec.DNS{Servers: []string{"10.9.0.2"}}}, "10.9.0.2"},
	} {
		set := c.set
		s.Give(&set)
		if got := strings.Join(set.DNS.Servers, " "); got != c.want || Asks(&set) != strings.HasPrefix(c.want, Loopback) {
			t.Errorf("%+v asks %q, wanted %q", c.set, got, c.want)
		}
	}
}

// TestResolversOfTheHost: those that containers can ask too, and those behind a stub.
func TestResolversOfTheHost(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stub, behind := file("stub", "nameserver 127.0.0.53\n"), file("behind", "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n")
	if got := reachable(stub, behind); !slices.Equal(got, []string{"192.0.2.1", "192.0.2.2"}) {
		t.Errorf("behind a stub: %v", got)
	}
	r := &resolvers{path: stub}
	if got := r.now(); !slices.Equal(got, []string{"127.0.0.53:53"}) {
		t.Errorf("the host asks %v", got)
	}
	file("stub", "nameserver 192.0.2.9\n")
	if err := os.Chtimes(stub, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := r.now(); !slices.Equal(got, []string{"192.0.2.9:53"}) {
		t.Errorf("after a change the host asks %v", got)
	}
}

func TestCheck(t *testing.T) {
	for domain, good := range map[string]bool{"": true, "mos.internal": true, "Mos.internal": false, "mos..internal": false, "mos.internal.": false} {
		if err := Check(domain); (err == nil) != good {
			t.Errorf("%q: %v", domain, err)
		}
	}
}

// TestTornNamesAreBegunAnew: they come again with the link, and a file that a power cut tore
// must not keep the host from that.
func TestTornNamesAreBegunAnew(t *testing.T) {
	dir := t.TempDir()
	for _, torn := range []string{"", "{", "\x00\x00"} {
		if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open("mos.internal", dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("%q: %v", torn, err)
		}
		if err := s.Take(known()); err != nil {
			t.Error(err)
		}
		if next, err := Open("mos.internal", dir, slog.New(slog.DiscardHandler)); err != nil || next.rec.Names.Revision != known().Revision {
			t.Errorf("after %q the names are not kept: %v", torn, err)
		}
	}
}
