// Package zabbix sends samples to a Zabbix server or proxy as zabbix_sender does, to
// items of the type "Zabbix trapper" (manual, appendix "Zabbix sender protocol").
//
// The keys of items are mos.container.cpu.usage[web], mos.set.cpu.usage[shop] and
// mos.host.cpu.usage, with what tells series apart behind: mos.host.io.read[/dev/vda].
// What there is to make items of goes to discovery rules (low-level discovery) with
// the keys mos.discovery.container, .set, and .device, .interface and so on.
package zabbix

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink"
)

// Config is the back end's configuration.
type Config struct {
	sink.Config
	sink.TLSConfig
	Host string `toml:"host" doc:"Name of this host in Zabbix; empty is host_name."`
}

// Check returns all faults.
func (c *Config) Check() error {
	err := c.Config.Check()
	if c.URL != "" {
		_, nerr := New(*c)
		err = errors.Join(err, nerr)
	}
	return err
}

// rediscover is how often discovery is sent without a change: a server that lost it
// has it again after that.
const rediscover = 10 * time.Minute

// Backend is a Zabbix server or proxy.
type Backend struct {
	address, host string
	tls           *tls.Config // nil without
	heads         [][]byte    // of the items: `{"host":…,"key":…,"value":"`
	discovery     []byte      // values of discovery rules without their times
	rules         int
	discovered    time.Time
}

// New makes the back end.
func New(c Config) (z *Backend, err error) {
	z = &Backend{host: c.Host}
	if !strings.HasPrefix(c.URL, "tls:") {
		z.address, err = sink.TCPAddress(c.URL)
		return z, err
	}
	if z.address, err = sink.TLSAddress(c.URL); err == nil {
		z.tls, err = c.Load()
	}
	return z, err
}

// key is the key of an item. Parameters are quoted where Zabbix's syntax wants it.
func key(i *sink.Item) string {
	name := i.Name
	if !i.Named {
		name = "mos." + i.Object.Scope.String() + "." + name
	}
	var params []string
	if s := i.Object.Scope; s == metric.Container || s == metric.Set {
		params = append(params, param(i.Object.Name))
	}
	if i.Dim != "" {
		params = append(params, param(i.Dim))
	}
	if len(params) == 0 {
		return name
	}
	return name + "[" + strings.Join(params, ",") + "]"
}

func param(s string) string {
	if s == "" || strings.ContainsAny(s, `,]"`) || s[0] == ' ' || s[0] == '[' {
		return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
	}
	return s
}

func quote(s string) []byte {
	b, _ := json.Marshal(s) // a string can be encoded
	return b
}

func (z *Backend) head(host, key string) []byte {
	return fmt.Appendf(nil, `{"host":%s,"key":%s,"value":"`, quote(host), quote(key))
}

func (z *Backend) arrange(in *sink.Batch) {
	host := z.host
	if host == "" {
		host = in.Host
	}
	z.heads = z.heads[:0]
	rules := map[string][]map[string]string{"mos.discovery.container": {}, "mos.discovery.set": {}}
	seen := map[string]bool{}
	add := func(rule string, macros map[string]string) {
		k := rule + fmt.Sprint(macros)
		if !seen[k] {
			seen[k] = true
			rules[rule] = append(rules[rule], macros)
		}
	}
	for k := range in.Items {
		i := &in.Items[k]
		z.heads = append(z.heads, z.head(host, key(i)))
		o := i.Object
		if o.Scope == metric.Container {
			add("mos.discovery.container", map[string]string{"{#NAME}": o.Name, "{#ID}": o.ID, "{#IMAGE}": o.Image, "{#SET}": o.Set})
		}
		if o.Scope == metric.Set {
			add("mos.discovery.set", map[string]string{"{#SET}": o.Name})
		}
		if i.Dim != "" {
			add("mos.discovery."+i.Def.Dim, map[string]string{"{#SCOPE}": o.Scope.String(), "{#NAME}": o.Name, "{#" + strings.ToUpper(i.Def.Dim) + "}": i.Dim})
		}
	}
	z.discovery, z.rules = z.discovery[:0], 0
	for rule, list := range rules {
		value, _ := json.Marshal(list) // strings can be encoded
		inner := quote(string(value))  // Zabbix wants the JSON as a string
		z.discovery = append(append(z.discovery, z.head(host, rule)...), inner[1:len(inner)-1]...)
		z.discovery = append(z.discovery, 0) // where the time goes
		z.rules++
	}
}

// Encode makes the body of a request.
func (z *Backend) Encode(b []byte, in *sink.Batch) []byte {
	if in.Changed {
		z.arrange(in)
	}
	const begin = `{"request":"sender data","data":[`
	b = append(b, begin...)
	first := len(b)
	if since := in.Time.Sub(z.discovered); len(in.Items) > 0 && (in.Changed || since >= rediscover || since < 0) {
		z.discovered = in.Time
		for _, c := range z.discovery {
			if c != 0 {
				b = append(b, c)
				continue
			}
			b = stamp(b, in.Time)
		}
	}
	for k := range in.Items {
		if v, ok := in.Items[k].Value(); ok {
			b = strconv.AppendFloat(append(b, z.heads[k]...), v, 'f', -1, 64)
			b = stamp(b, in.Time)
		}
	}
	if len(b) == first {
		return b[:first-len(begin)]
	}
	return append(b[:len(b)-1], "]}"...)
}

// stamp ends a value with its time.
func stamp(b []byte, at time.Time) []byte {
	b = strconv.AppendInt(append(b, `","clock":`...), at.Unix(), 10)
	b = strconv.AppendInt(append(b, `,"ns":`...), int64(at.Nanosecond()), 10)
	return append(b, "},"...)
}

const (
	header      = "ZBXD\x01"
	headerSize  = 13
	answerLimit = 64 << 10
)

// Deliver sends a request, for which Zabbix wants a connection of its own. Values
// for which there is no item are not taken, and that is no error: templates choose
// what they want. When none was taken, the host is not known there.
func (z *Backend) Deliver(ctx context.Context, batch []byte) error {
	return sink.Exchange(ctx, z.address, z.tls, func(c net.Conn) error {
		head := binary.LittleEndian.AppendUint32([]byte(header), uint32(len(batch)))
		if _, err := c.Write(append(append(head, 0, 0, 0, 0), batch...)); err != nil {
			return err
		}
		answer := make([]byte, headerSize)
		if _, err := io.ReadFull(c, answer); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		n := binary.LittleEndian.Uint32(answer[len(header):])
		if string(answer[:len(header)]) != header || n > answerLimit {
			return fmt.Errorf("%s does not speak Zabbix's protocol: it answers %q", z.address, answer)
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(c, body); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return judge(body)
	})
}

func judge(body []byte) error {
	var answer struct {
		Response string `json:"response"`
		Info     string `json:"info"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("the answer %.100q: %w", body, err)
	}
	if answer.Response != "success" {
		return fmt.Errorf("answer %q: %.200q: %w", answer.Response, answer.Info, errdefs.ErrInvalidArgument)
	}
	var processed, failed, total int
	if _, err := fmt.Sscanf(answer.Info, "processed: %d; failed: %d; total: %d", &processed, &failed, &total); err == nil && processed == 0 && failed > 0 {
		return fmt.Errorf("none of %d values was taken: is the host there, with trapper items, and may this address send? %w", total, errdefs.ErrInvalidArgument)
	}
	return nil
}
