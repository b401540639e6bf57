// Package cat sends samples to CAT (github.com/dianping/cat), versions 3 and 4: to the
// servers that its router names (http://HOST:8080), or to one (tcp://HOST:2280).
//
// Each container, set and host is a domain of its own, mos.NAME, with this host as its
// machine. Its values are in the heartbeat of the minute, which is the one report of CAT
// that takes any number of curves from both versions: metrics of version 3 are thrown
// away by version 4, and the other way round. The extension "memory" has the curve
// "usage", "io" has "read /dev/vda".
//
// The protocol has no answers. A connection per batch gives one all the same: who has
// read all of it closes, who has not resets.
package cat

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/agent/sink"
)

// Config is the back end's configuration.
type Config struct {
	sink.HTTPConfig
	Domain string `toml:"domain" doc:"Begins the names of the domains (applications) in CAT."`
	IP     string `toml:"ip" doc:"Address of this host in CAT; empty is that of the default route."`
}

// Check returns all faults.
func (c *Config) Check() error {
	errs := []error{c.Config.Check()}
	if c.Interval.Duration < time.Minute {
		errs = append(errs, fmt.Errorf("interval: want 1m at least, since CAT keeps one value a minute, not %v", c.Interval))
	}
	if c.URL != "" {
		_, err := New(*c)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Backend is the servers of a CAT.
type Backend struct {
	router         *sink.HTTP // nil when the server is known
	query          string
	servers        []string
	asked          time.Time // when the router named them
	prefix, ip, id string
	now            func() time.Time

	trees []tree
	xml   []byte
}

// tree is what of an object's heartbeat does not change.
type tree struct {
	domain, host, tags string
	parts              []part // by extension
}

// part is a value with what stands before it.
type part struct {
	item int // in the batch
	head string
}

// New makes the back end.
func New(c Config) (*Backend, error) {
	b := &Backend{prefix: c.Domain, ip: cmp.Or(c.IP, ownAddress()), now: time.Now}
	ip, err := netip.ParseAddr(b.ip)
	if err != nil || !ip.Is4() {
		return nil, fmt.Errorf("ip: want an IPv4 address, not %q", b.ip)
	}
	b.id = hex.EncodeToString(ip.AsSlice())
	if !strings.HasPrefix(c.URL, "http") {
		server, err := sink.TCPAddress(c.URL)
		b.servers = []string{server}
		return b, err
	}
	host, _ := os.Hostname() // the router wants some name
	b.query = "/cat/s/router?" + url.Values{"op": {"json"}, "domain": {c.Domain}, "ip": {b.ip}, "hostname": {host}}.Encode()
	b.router, err = sink.NewHTTP(c.HTTPConfig, map[string]string{"User-Agent": "mosd"})
	return b, err
}

// ownAddress is that from which the default route leaves. No packet is sent.
func ownAddress() string {
	c, err := net.Dial("udp4", "192.0.2.1:9") //nolint:noctx // it does not wait
	if err != nil {
		return "127.0.0.1"
	}
	defer func() { _ = c.Close() }() // nothing was written
	host, _, _ := net.SplitHostPort(c.LocalAddr().String())
	return host
}

func (b *Backend) arrange(in *sink.Batch) {
	b.trees = b.trees[:0]
	for first := 0; first < len(in.Items); {
		o := in.Items[first].Object
		t := tree{domain: b.prefix + o.Name, host: in.Host}
		end := first
		for ; end < len(in.Items) && in.Items[end].Object == o; end++ {
		}
		var tags []string
		for _, tag := range in.Items[first].Tags {
			tags = append(tags, tag.Key+"="+tag.Value)
		}
		t.tags = strings.Join(tags, "&")
		order := make([]int, 0, end-first)
		for i := first; i < end; i++ {
			order = append(order, i)
		}
		extension := func(i int) string { e, _, _ := strings.Cut(in.Items[i].Name, "."); return e }
		slices.SortStableFunc(order, func(x, y int) int { return strings.Compare(extension(x), extension(y)) })
		last := ""
		for _, i := range order {
			item, head := &in.Items[i], ""
			ext, curve, _ := strings.Cut(item.Name, ".")
			if ext != last {
				if last != "" {
					head = "</extension>"
				}
				head += `<extension id="` + escape(ext) + `">`
				last = ext
			}
			name := strings.TrimSpace(cmp.Or(curve, ext) + " " + item.Dim)
			t.parts = append(t.parts, part{i, head + `<extensionDetail id="` + escape(name) + `" value="`})
		}
		b.trees = append(b.trees, t)
		first = end
	}
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // memory takes all
	return b.String()
}

// Encode makes the time of the batch, in milliseconds since 1970, and a packet for each
// object.
func (b *Backend) Encode(out []byte, in *sink.Batch) []byte {
	if in.Changed {
		b.arrange(in)
	}
	begin := len(out)
	out = binary.BigEndian.AppendUint64(out, uint64(in.Time.UnixMilli()))
	for i := range b.trees {
		out = b.packet(out, &b.trees[i], in)
	}
	if len(out) == begin+timeSize {
		return out[:begin]
	}
	return out
}

const timeSize = 8 // of what precedes the packets of a batch

// packet appends the heartbeat of an object, unless it has no values: 4 bytes of length
// and a tree of messages in the codec NT1.
func (b *Backend) packet(out []byte, t *tree, in *sink.Batch) []byte {
	if !b.status(t, in) {
		return out
	}
	begin, ms := len(out), uint64(in.Time.UnixMilli())
	out = append(out, "\x00\x00\x00\x00NT1"...)
	out = appendString(out, t.domain)
	out = appendString(out, t.host)
	out = appendString(out, b.ip)
	out = appendString(out, "mosd") // group, number and name of the thread
	out = appendString(out, "1")
	out = appendString(out, "mosd")
	out = b.messageID(out, t, ms)
	out = append(out, 0, 0, 0) // neither parent nor root nor session

	out = binary.AppendUvarint(append(out, 't'), ms)
	out = appendString(out, "System")
	out = appendString(out, "Status")
	out = binary.AppendUvarint(append(out, 'H'), ms)
	out = appendString(out, "Heartbeat")
	out = appendString(out, b.ip)
	out = appendString(out, "0") // it is well
	out = binary.AppendUvarint(out, uint64(len(b.xml)))
	out = append(out, b.xml...)
	out = appendString(append(out, 'T'), "0")
	out = appendString(out, t.tags)
	out = append(out, 0) // it took no time
	binary.BigEndian.PutUint32(out[begin:], uint32(len(out)-begin-4))
	return out
}

// messageID appends DOMAIN-IP-HOUR-NUMBER. The number is the second of the hour, so that
// a batch that is sent twice has it twice.
func (b *Backend) messageID(out []byte, t *tree, ms uint64) []byte {
	const hour = 3600 * 1000
	var tail [48]byte
	n := append(append(append(tail[:0], '-'), b.id...), '-')
	n = strconv.AppendUint(n, ms/hour, 10)
	n = strconv.AppendUint(append(n, '-'), ms%hour/1000, 10)
	out = binary.AppendUvarint(out, uint64(len(t.domain)+len(n)))
	return append(append(out, t.domain...), n...)
}

// status makes the document that a heartbeat carries. Servers of version 3 look into
// runtime and message, and drop a heartbeat without them.
func (b *Backend) status(t *tree, in *sink.Batch) (some bool) {
	b.xml = append(b.xml[:0], `<status timestamp="`...)
	b.xml = in.Time.AppendFormat(b.xml, "2006-01-02 15:04:05.000")
	b.xml = append(b.xml, `"><runtime/><message produced="0" overflowed="0" bytes="0"/>`...)
	for _, p := range t.parts {
		v, ok := in.Items[p.item].Value()
		if !ok { // what opens and closes extensions is kept
			b.xml = append(b.xml, p.head[:strings.LastIndex(p.head, "<extensionDetail")]...)
			continue
		}
		some = true
		b.xml = strconv.AppendFloat(append(b.xml, p.head...), v, 'f', -1, 64)
		b.xml = append(b.xml, `"/>`...)
	}
	b.xml = append(b.xml, "</extension></status>"...)
	return some
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// late is for how long after its hour a server takes a message (extraTime in
// cat-core's PeriodManager).
const late = 3 * time.Minute

// Deliver hands a batch to the first server that takes it.
func (b *Backend) Deliver(ctx context.Context, batch []byte) error {
	if len(batch) < timeSize {
		return fmt.Errorf("a batch of %d bytes: %w", len(batch), errdefs.ErrInvalidArgument)
	}
	at := time.UnixMilli(int64(binary.BigEndian.Uint64(batch)))
	if end := at.Truncate(time.Hour).Add(time.Hour + late); b.now().After(end) {
		return fmt.Errorf("CAT takes nothing of an hour that is over, and this is of %v: %w", at.Format(time.DateTime), errdefs.ErrInvalidArgument)
	}
	if err := b.route(ctx); err != nil {
		return err
	}
	var errs []error
	for _, s := range b.servers {
		err := sink.Exchange(ctx, s, nil, func(c net.Conn) error { return hand(c, batch[timeSize:]) })
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", s, err))
	}
	b.asked = time.Time{} // the router may know better
	return errors.Join(errs...)
}

var errCut = errors.New("the server closed before it had read all")

// hand writes packets and waits until the server has read them.
func hand(conn net.Conn, packets []byte) error {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return errors.ErrUnsupported
	}
	if _, err := c.Write(packets); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		return fmt.Errorf("%w: %w", errCut, err)
	}
	// A server that closed before anything came has not acknowledged a byte.
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
		return errors.Join(cerr, err)
	}
	if info.Bytes_acked < uint64(len(packets)) {
		return errCut
	}
	return nil
}

// askRouter is how often a router is asked, as CAT's own clients do.
const askRouter = 3 * time.Minute

var (
	// Version 3 answers in JSON, version 4 with what Java prints of a map.
	routers = regexp.MustCompile(`"?routers"?\s*[:=]\s*"?([^",}]*)`)
	blocked = regexp.MustCompile(`"?block"?\s*[:=]\s*"?true`)
)

// route asks the router which servers to use, in the order in which they are to be tried.
func (b *Backend) route(ctx context.Context) error {
	if b.router == nil || len(b.servers) > 0 && b.now().Sub(b.asked) < askRouter {
		return nil
	}
	answer, err := b.router.Get(ctx, b.query)
	if err != nil {
		if len(b.servers) > 0 {
			return nil // those that it named the last time
		}
		return fmt.Errorf("ask the router: %w", err)
	}
	if blocked.Match(answer) {
		return errors.New("the router says that CAT takes nothing from here (block): see its client configuration")
	}
	m := routers.FindSubmatch(answer)
	if m == nil {
		return fmt.Errorf("the router's answer names no servers: %.200q", answer)
	}
	var servers []string
	for s := range strings.SplitSeq(string(m[1]), ";") {
		if s = strings.TrimSpace(s); s != "" {
			servers = append(servers, s)
		}
	}
	if len(servers) == 0 {
		return errors.New("the router knows no server")
	}
	b.servers, b.asked = servers, b.now()
	return nil
}
