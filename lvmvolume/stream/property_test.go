package stream_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// pieces draws a volume as runs of a few bytes on a few sizes, most of them
// near the borders of pages and frames.
func pieces(t *rapid.T) *volume {
	lengths := rapid.SampledFrom([]int{1, 2, 511, 4095, 4096, 4097, 65536, mib - 4096, mib - 1, mib, mib + 1})
	var data []byte
	for range rapid.IntRange(1, 8).Draw(t, "runs") {
		run := make([]byte, lengths.Draw(t, "length"))
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 1:
			for i := range run {
				run[i] = byte(i*i>>3 | 1)
			}
		case 2:
			run[len(run)-1] = 9
		}
		data = append(data, run...)
	}
	return &volume{data: data, zeroed: true}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := pieces(t)
		h := header(src.Size())
		h.Host = rapid.StringMatching(`[ -~]{0,40}`).Draw(t, "host")
		h.Options = rapid.MapOfN(rapid.StringMatching(`[a-z]{1,9}`), rapid.StringMatching(`[ -~äß日]{0,9}`), 0, 5).Draw(t, "options")
		var b bytes.Buffer
		wrote, err := stream.Write(context.Background(), &b, h, src, nil)
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = bytes.NewReader(b.Bytes())
		switch rapid.IntRange(0, 2).Draw(t, "reader") {
		case 1:
			r = iotest.HalfReader(r)
		case 2:
			r = iotest.DataErrReader(r)
		}
		sink := fresh(len(src.data), rapid.Bool().Draw(t, "zeroed"))
		read, err := stream.Read(context.Background(), r, sink.open, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(sink.data, src.data) {
			t.Fatal("what arrived is not what was sent")
		}
		if read.Digest != wrote.Digest || read.Content != wrote.Content || !maps.Equal(read.Header.Options, h.Options) || read.Header.Host != h.Host {
			t.Fatalf("read %+v, wrote %+v", read, wrote)
		}
	})
}
