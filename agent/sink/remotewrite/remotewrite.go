// Package remotewrite sends samples to what takes Prometheus's remote write, by
// version 1.0 of its specification: a protobuf of series with labels, compressed by
// snappy. Names and labels are those of package prom, with host and job in place of
// what Prometheus would add to what it scrapes.
package remotewrite

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/agent/sink/prom"
)

// Numbers of the fields (prometheus/prompb, remote.proto and types.proto).
const (
	requestSeries = 1
	seriesLabel   = 1
	seriesSample  = 2
	labelName     = 1
	labelValue    = 2
	sampleValue   = 1
	sampleTime    = 2
)

// Backend is a receiver of remote write.
type Backend struct {
	http *sink.HTTP
	// heads are the labels of the items, encoded.
	heads [][]byte
	plain []byte
}

// New makes the back end.
func New(c sink.HTTPConfig) (*Backend, error) {
	h, err := sink.NewHTTP(c, map[string]string{
		"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
		"X-Prometheus-Remote-Write-Version": "0.1.0", "User-Agent": "mosd",
	})
	return &Backend{http: h}, err
}

func (w *Backend) arrange(in *sink.Batch) {
	w.heads = w.heads[:0]
	for k := range in.Items {
		i := &in.Items[k]
		tags := append(prom.Labels(i), sink.Tag{Key: "__name__", Value: prom.Name(i)})
		for _, t := range []sink.Tag{{Key: "instance", Value: in.Host}, {Key: "job", Value: "mosd"}} {
			if !slices.ContainsFunc(tags, func(o sink.Tag) bool { return o.Key == t.Key }) {
				tags = append(tags, t)
			}
		}
		// The specification wants them so, without two of one name.
		slices.SortFunc(tags, func(a, b sink.Tag) int { return strings.Compare(a.Key, b.Key) })
		var head, label []byte
		for _, t := range tags {
			label = protowire.AppendTag(label[:0], labelName, protowire.BytesType)
			label = protowire.AppendString(label, t.Key)
			label = protowire.AppendTag(label, labelValue, protowire.BytesType)
			label = protowire.AppendString(label, strings.ToValidUTF8(t.Value, "\uFFFD"))
			head = protowire.AppendTag(head, seriesLabel, protowire.BytesType)
			head = protowire.AppendBytes(head, label)
		}
		w.heads = append(w.heads, head)
	}
}

// Encode makes a compressed WriteRequest.
func (w *Backend) Encode(b []byte, in *sink.Batch) []byte {
	if in.Changed {
		w.arrange(in)
	}
	ms := uint64(in.Time.UnixMilli())
	w.plain = w.plain[:0]
	for k := range in.Items {
		v, ok := in.Items[k].Value()
		if !ok {
			continue
		}
		sample := 1 + 8 + 1 + protowire.SizeVarint(ms)
		w.plain = protowire.AppendTag(w.plain, requestSeries, protowire.BytesType)
		w.plain = protowire.AppendVarint(w.plain, uint64(len(w.heads[k])+1+protowire.SizeBytes(sample)))
		w.plain = append(w.plain, w.heads[k]...)
		w.plain = protowire.AppendTag(w.plain, seriesSample, protowire.BytesType)
		w.plain = protowire.AppendVarint(w.plain, uint64(sample))
		w.plain = protowire.AppendTag(w.plain, sampleValue, protowire.Fixed64Type)
		w.plain = binary.LittleEndian.AppendUint64(w.plain, math.Float64bits(v))
		w.plain = protowire.AppendTag(w.plain, sampleTime, protowire.VarintType)
		w.plain = protowire.AppendVarint(w.plain, ms)
	}
	if len(w.plain) == 0 {
		return b
	}
	b = slices.Grow(b, s2.MaxEncodedLen(len(w.plain)))
	return append(b, s2.EncodeSnappy(b[len(b):cap(b)], w.plain)...)
}

// Deliver posts a batch.
func (w *Backend) Deliver(ctx context.Context, batch []byte) error {
	_, err := w.http.Post(ctx, batch)
	return err
}
