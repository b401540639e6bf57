// Package falcon sends samples to Open-Falcon: to an agent or transfer by HTTP
// (http://HOST:1988/v1/push, http://HOST:6060/api/push) or to a transfer by JSON-RPC
// (tcp://HOST:8433). Metrics of containers are called container.cpu.usage and have
// the tags container and set.
package falcon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	sink.HTTPConfig
	Endpoint string `toml:"endpoint" doc:"Whose metrics of containers and sets are: host, this host's, told apart by tags; or object, those of an endpoint of their own name."`
}

// Check returns all faults.
func (c *Config) Check() error {
	errs := []error{c.Config.Check()}
	if c.Endpoint != "" && c.Endpoint != "host" && c.Endpoint != "object" {
		errs = append(errs, fmt.Errorf("endpoint: want host or object, not %q", c.Endpoint))
	}
	if c.URL != "" {
		_, err := New(*c, time.Second)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// maxName is what the server takes of a metric's name and its tags together
// (modules/transfer, rpc_transfer.go).
const maxName = 510

// Backend is an agent or transfer.
type Backend struct {
	http    *sink.HTTP
	address string // of a transfer, where http is nil
	objects bool
	step    int64
	parts   []part
}

// part is what of an item does not change; one that is too long is empty.
type part struct{ head, tail []byte }

// New makes the back end. step is the time between two batches.
func New(c Config, step time.Duration) (f *Backend, err error) {
	f = &Backend{objects: c.Endpoint == "object", step: max(1, int64(step.Round(time.Second)/time.Second))}
	if strings.HasPrefix(c.URL, "tcp:") {
		f.address, err = sink.TCPAddress(c.URL)
	} else {
		f.http, err = sink.NewHTTP(c.HTTPConfig, map[string]string{"Content-Type": "application/json", "User-Agent": "mosd"})
	}
	return f, err
}

func (f *Backend) arrange(in *sink.Batch) {
	f.parts = f.parts[:0]
	for k := range in.Items {
		i := &in.Items[k]
		endpoint, name := in.Host, i.Name
		if !i.Named {
			name = i.Object.Scope.String() + "." + name
		}
		var tags []string
		add := func(key, value string) {
			if value != "" {
				tags = append(tags, tag(key)+"="+tag(value))
			}
		}
		o := i.Object
		switch {
		case o.Scope != metric.Container && o.Scope != metric.Set:
		case f.objects:
			endpoint = o.Name
		case o.Scope == metric.Container:
			add("container", o.Name)
		}
		add("set", o.Set)
		add(i.Def.Dim, i.Dim)
		for _, t := range i.Tags {
			add(t.Key, t.Value)
		}
		all := strings.Join(tags, ",")
		if len(name)+len(all) > maxName {
			f.parts = append(f.parts, part{})
			continue
		}
		kind := "GAUGE"
		if i.Def.Kind == metric.Counter {
			kind = "COUNTER"
		}
		f.parts = append(f.parts, part{
			fmt.Appendf(nil, `{"endpoint":%s,"metric":%s,"value":`, quote(endpoint), quote(name)),
			fmt.Appendf(nil, `,"step":%d,"counterType":%q,"tags":%s,"timestamp":`, f.step, kind, quote(all)),
		})
	}
}

var special = strings.NewReplacer(",", "_", "=", "_", " ", "_", "\t", "_", "\n", "_") //nolint:gochecknoglobals // a constant table, dear to make

// tag replaces what has a meaning in the list of tags.
func tag(s string) string { return special.Replace(s) }

func quote(s string) []byte {
	b, _ := json.Marshal(s) // a string can be encoded
	return b
}

// Encode makes an array of values.
func (f *Backend) Encode(b []byte, in *sink.Batch) []byte {
	if in.Changed {
		f.arrange(in)
	}
	begin := len(b)
	for k := range in.Items {
		v, ok := in.Items[k].Value()
		if !ok || f.parts[k].head == nil {
			continue
		}
		b = append(b, ',')
		b = strconv.AppendFloat(append(b, f.parts[k].head...), v, 'f', -1, 64)
		b = strconv.AppendInt(append(b, f.parts[k].tail...), in.Time.Unix(), 10)
		b = append(b, '}')
	}
	if len(b) == begin {
		return b
	}
	b[begin] = '['
	return append(b, ']')
}

// Deliver hands over a batch.
func (f *Backend) Deliver(ctx context.Context, batch []byte) error {
	if f.http == nil {
		return sink.Exchange(ctx, f.address, nil, func(c net.Conn) error { return call(c, batch) })
	}
	answer, err := f.http.Post(ctx, batch)
	if err != nil {
		return err
	}
	// An agent says "success", a transfer what it counted.
	var data struct {
		Data result `json:"data"`
	}
	if bytes.HasPrefix(answer, []byte("{")) && json.Unmarshal(answer, &data) == nil {
		return data.Data.judge()
	}
	return nil
}

// result is a transfer's answer (common/model, TransferResponse).
type result struct {
	Message string `json:"Message"`
	Total   int    `json:"Total"`
	Invalid int    `json:"Invalid"`
}

// judge takes a batch of which nothing was valid for refused.
func (r result) judge() error {
	if r.Invalid > 0 && r.Invalid >= r.Total {
		return fmt.Errorf("all of %d values are invalid there: %.200q: %w", r.Total, r.Message, errdefs.ErrInvalidArgument)
	}
	return nil
}

// call is one call of JSON-RPC 1.0, as Go's package net/rpc/jsonrpc has it.
func call(c net.Conn, batch []byte) error {
	request := append([]byte(`{"method":"Transfer.Update","id":1,"params":[`), batch...)
	if _, err := c.Write(append(request, "]}\n"...)); err != nil {
		return err
	}
	var answer struct {
		Result *result         `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.NewDecoder(c).Decode(&answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer.Result == nil {
		return fmt.Errorf("Transfer.Update: %.200s", answer.Error)
	}
	return answer.Result.judge()
}
