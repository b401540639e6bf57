// Package otlp sends samples to what takes OpenTelemetry's protocol over HTTP with
// protobuf, such as an OpenTelemetry collector at http://HOST:4318/v1/metrics. Each
// object is a resource. Metrics of containers have the names and attributes of the
// semantic conventions where there are any, else mos.container. and our own name.
package otlp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/gzip"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink"
)

// convention is the name of a container's metric and what stands for it in an
// attribute (OpenTelemetry semantic conventions 1.44, container metrics).
type convention struct{ name, key, value, dim string }

func conventions() map[string]convention {
	return map[string]convention{
		"cpu.user":           {name: "container.cpu.time", key: "cpu.mode", value: "user"},
		"cpu.system":         {name: "container.cpu.time", key: "cpu.mode", value: "system"},
		"memory.usage":       {name: "container.memory.usage"},
		"memory.working_set": {name: "container.memory.working_set"},
		"memory.rss":         {name: "container.memory.rss"},
		"io.read":            {name: "container.disk.io", key: "disk.io.direction", value: "read", dim: "system.device"},
		"io.write":           {name: "container.disk.io", key: "disk.io.direction", value: "write", dim: "system.device"},
		"net.rx":             {name: "container.network.io", key: "network.io.direction", value: "receive", dim: "network.interface.name"},
		"net.tx":             {name: "container.network.io", key: "network.io.direction", value: "transmit", dim: "network.interface.name"},
	}
}

// Backend is a receiver of OTLP.
type Backend struct {
	http   *sink.HTTP
	groups []group
	plain  []byte
	parts  struct{ resource, scope, metric, data, point []byte } // being built, inner ones last
	zip    *gzip.Writer
	zipped bytes.Buffer
}

// group is what is sent of one object.
type group struct {
	resource []byte // the resource's field, encoded
	metrics  []series
}

// series is one metric with one point.
type series struct {
	item  *sink.Item
	head  []byte // name, description and unit
	attrs []byte // of the point
}

// New makes the back end.
func New(c sink.HTTPConfig) (*Backend, error) {
	h, err := sink.NewHTTP(c, map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip", "User-Agent": "mosd"})
	return &Backend{http: h, zip: gzip.NewWriter(nil)}, err
}

// Numbers of the fields (opentelemetry-proto: metrics, resource, common).
const (
	requestResource = 1
	resourceOf      = 1
	scopeMetrics    = 2
	scopeOf         = 1
	metricOf        = 2
	metricName      = 1
	metricHelp      = 2
	metricUnit      = 3
	metricGauge     = 5
	metricSum       = 7
	dataPoint       = 1
	sumTemporality  = 2
	sumMonotonic    = 3
	cumulative      = 2
	pointTime       = 3
	pointDouble     = 4
	pointAttribute  = 7
)

func message(b []byte, field protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), body)
}

func text(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// attribute appends a KeyValue of a string.
func attribute(b []byte, field protowire.Number, key, value string) []byte {
	if value == "" {
		return b
	}
	kv := text(nil, 1, key)
	kv = message(kv, 2, text(nil, 1, string(bytes.ToValidUTF8([]byte(value), []byte("\uFFFD")))))
	return message(b, field, kv)
}

func (o *Backend) arrange(in *sink.Batch) {
	o.groups = o.groups[:0]
	conv := conventions()
	var last *metric.Object
	for k := range in.Items {
		i := &in.Items[k]
		if i.Object != last {
			last = i.Object
			o.groups = append(o.groups, group{resource: resource(in.Host, i)})
		}
		c := conv[i.Def.Name]
		if i.Object.Scope != metric.Container || c.name == "" {
			c = convention{name: "mos." + i.Object.Scope.String() + "." + i.Def.Name, dim: i.Def.Dim}
		}
		if i.Named {
			c.name = i.Name
		}
		s := series{item: i, head: text(text(text(nil, metricName, c.name), metricHelp, i.Def.Help), metricUnit, i.Def.Unit)}
		if c.key != "" {
			s.attrs = attribute(s.attrs, pointAttribute, c.key, c.value)
		}
		if i.Dim != "" {
			s.attrs = attribute(s.attrs, pointAttribute, c.dim, i.Dim)
		}
		g := &o.groups[len(o.groups)-1]
		g.metrics = append(g.metrics, s)
	}
}

// resource encodes what an item's object is.
func resource(host string, i *sink.Item) []byte {
	obj := i.Object
	b := attribute(nil, 1, "host.name", host)
	b = attribute(b, 1, "service.name", "mosd")
	if obj.Scope == metric.Container {
		b = attribute(b, 1, "container.id", obj.ID)
		b = attribute(b, 1, "container.name", obj.Name)
		b = attribute(b, 1, "container.image.name", obj.Image)
		b = attribute(b, 1, "container.runtime.name", "docker")
		b = attribute(b, 1, "mos.member", obj.Member)
	}
	b = attribute(b, 1, "mos.set", obj.Set)
	for _, t := range i.Tags {
		if _, isLabel := obj.Labels[t.Key]; isLabel && obj.Scope == metric.Container {
			b = attribute(b, 1, "container.label."+t.Key, t.Value)
		} else {
			b = attribute(b, 1, t.Key, t.Value)
		}
	}
	return message(nil, resourceOf, b)
}

// Encode makes a compressed ExportMetricsServiceRequest.
func (o *Backend) Encode(b []byte, in *sink.Batch) []byte {
	if in.Changed {
		o.arrange(in)
	}
	p := &o.parts
	o.plain = o.plain[:0]
	for k := range o.groups {
		g := &o.groups[k]
		p.scope = message(p.scope[:0], scopeOf, []byte("\x0a\x04mosd"))
		empty := len(p.scope)
		for m := range g.metrics {
			o.metric(&g.metrics[m], in.Time)
		}
		if len(p.scope) == empty {
			continue
		}
		p.resource = append(p.resource[:0], g.resource...)
		p.resource = message(p.resource, scopeMetrics, p.scope)
		o.plain = message(o.plain, requestResource, p.resource)
	}
	if len(o.plain) == 0 {
		return b
	}
	o.zipped.Reset()
	o.zip.Reset(&o.zipped)
	if _, err := o.zip.Write(o.plain); err != nil || o.zip.Close() != nil {
		return b // into memory it cannot fail
	}
	return append(b, o.zipped.Bytes()...)
}

// metric appends a metric to the scope that is being built.
func (o *Backend) metric(s *series, at time.Time) {
	v, ok := s.item.Value()
	if !ok {
		return
	}
	p := &o.parts
	p.point = protowire.AppendTag(p.point[:0], pointTime, protowire.Fixed64Type)
	p.point = binary.LittleEndian.AppendUint64(p.point, uint64(at.UnixNano()))
	p.point = protowire.AppendTag(p.point, pointDouble, protowire.Fixed64Type)
	p.point = binary.LittleEndian.AppendUint64(p.point, math.Float64bits(v))
	p.point = append(p.point, s.attrs...)
	p.data = message(p.data[:0], dataPoint, p.point)
	field := protowire.Number(metricGauge)
	if s.item.Def.Kind == metric.Counter {
		field = metricSum
		p.data = protowire.AppendVarint(protowire.AppendTag(p.data, sumTemporality, protowire.VarintType), cumulative)
		p.data = protowire.AppendVarint(protowire.AppendTag(p.data, sumMonotonic, protowire.VarintType), 1)
	}
	p.metric = append(p.metric[:0], s.head...)
	p.metric = message(p.metric, field, p.data)
	p.scope = message(p.scope, metricOf, p.metric)
}

// Deliver posts a batch. A receiver that took only a part of it will not take the
// rest later.
func (o *Backend) Deliver(ctx context.Context, batch []byte) error {
	answer, err := o.http.Post(ctx, batch)
	if err != nil {
		return err
	}
	if n, why := rejected(answer); n > 0 {
		return fmt.Errorf("%d points were refused: %.200q: %w", n, why, errdefs.ErrInvalidArgument)
	}
	return nil
}

// rejected reads the partial success of an ExportMetricsServiceResponse: field 1,
// with the number of points in 1 and the reason in 2.
func rejected(answer []byte) (n uint64, why string) {
	each(answer, func(field protowire.Number, _ uint64, body []byte) {
		if field == 1 {
			each(body, func(field protowire.Number, v uint64, s []byte) {
				switch field { //nolint:exhaustive // a later version may have more
				case 1:
					n = v
				case 2:
					why = string(s)
				}
			})
		}
	})
	return n, why
}

// each calls f with the fields of a message, until one cannot be read.
func each(b []byte, f func(field protowire.Number, v uint64, body []byte)) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(field, kind, b)
		if size < 0 {
			return
		}
		if kind == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b)
			f(field, v, nil)
		}
		if kind == protowire.BytesType {
			body, _ := protowire.ConsumeBytes(b)
			f(field, 0, body)
		}
		b = b[size:]
	}
}
