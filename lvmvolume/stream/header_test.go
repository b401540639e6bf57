package stream_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

func TestHeaderIsCheckedBeforeWriting(t *testing.T) {
	many := map[string]string{}
	for i := range 65 {
		many[strings.Repeat("k", i+1)] = ""
	}
	big := map[string]string{}
	for i := range 17 {
		big[strings.Repeat("k", i+1)] = strings.Repeat("v", 4096)
	}
	for name, change := range map[string]func(*stream.Header){
		"no-name":       func(h *stream.Header) { h.Volume = "" },
		"path":          func(h *stream.Header) { h.Volume = "../../etc/passwd" },
		"hidden":        func(h *stream.Header) { h.Volume = ".x" },
		"option-like":   func(h *stream.Header) { h.Volume = "-rf" },
		"long-name":     func(h *stream.Header) { h.Volume = strings.Repeat("a", 256) },
		"foreign-name":  func(h *stream.Header) { h.Volume = "ä" },
		"no-fs":         func(h *stream.Header) { h.FS = "" },
		"btrfs":         func(h *stream.Header) { h.FS = "btrfs" },
		"no-size":       func(h *stream.Header) { h.Size = 0 },
		"wrong-size":    func(h *stream.Header) { h.Size++ },
		"negative-used": func(h *stream.Header) { h.Used = -1 },
		"used-up":       func(h *stream.Header) { h.Used = h.Size + 1 },
		"no-time":       func(h *stream.Header) { h.Created = time.Time{} },
		"late":          func(h *stream.Header) { h.Created = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"host":          func(h *stream.Header) { h.Host = "a\x1b[31m" },
		"host-not-utf8": func(h *stream.Header) { h.Host = "a\xff" },
		"option-key":    func(h *stream.Header) { h.Options = map[string]string{"": "x"} },
		"option-value":  func(h *stream.Header) { h.Options = map[string]string{"a": "x\ny"} },
		"option-long":   func(h *stream.Header) { h.Options = map[string]string{"a": strings.Repeat("v", 4097)} },
		"options-many":  func(h *stream.Header) { h.Options = many },
		"options-big":   func(h *stream.Header) { h.Options = big },
	} {
		h := header(mib)
		change(&h)
		var b bytes.Buffer
		_, err := stream.Write(t.Context(), &b, h, fresh(mib, true), nil)
		if !errdefs.IsInvalidArgument(err) || b.Len() != 0 {
			t.Errorf("%s: wrote %d bytes, error %v", name, b.Len(), err)
		}
	}
}

const good = `{"volume":"v","fs":"xfs","size":5,"used":1,"created":"2026-01-02T03:04:05Z","host":"h","options":{"a":"b"}}`

func TestHeaderIsReadStrictly(t *testing.T) {
	if h, err := stream.Info(bytes.NewReader(headerOf(good))); err != nil || h.FS != stream.XFS || h.Size != 5 || h.Options["a"] != "b" {
		t.Fatalf("got %+v, %v", h, err)
	}
	for name, change := range map[string][2]string{
		"missing":      {`"host":"h",`, ``},
		"unknown":      {`"host":"h"`, `"host":"h","more":1`},
		"twice":        {`"host":"h"`, `"host":"h","host":"h"`},
		"case":         {`"host"`, `"Host"`},
		"null":         {`"h"`, `null`},
		"null-options": {`{"a":"b"}`, `null`},
		"null-option":  {`"b"`, `null`},
		"option-twice": {`"a":"b"`, `"a":"b","a":"c"`},
		"option-type":  {`"b"`, `1`},
		"array":        {`{"a":"b"}`, `[]`},
		"fraction":     {`"size":5`, `"size":5.5`},
		"huge":         {`"size":5`, `"size":5e30`},
		"over-limit":   {`"size":5`, `"size":1152921504606846977`},
		"negative":     {`"size":5`, `"size":-5`},
		"time":         {`2026-01-02T03:04:05Z`, `yesterday`},
		"not-utf8":     {`"h"`, "\"\xff\""},
		"more":         {`"b"}}`, `"b"}}{}`},
		"open":         {`"b"}}`, `"b"}`},
		"name":         {`"v"`, `"/v"`},
		"no-object":    {good, `7`},
		"deep":         {good, strings.Repeat(`{"a":`, 12000)},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if _, err := stream.Info(bytes.NewReader(headerOf(text))); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %.200s: %v", name, text, err)
		}
	}
}

func TestFirstLineSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		in   string
		is   func(error) bool
		want string
	}{
		{"", errdefs.IsDataLoss, "missing"},
		{"mos-vol", errdefs.IsDataLoss, "missing"},
		{"x", errdefs.IsInvalidArgument, "name a file or pipe that an export wrote"},
		{"\x1f\x8b\x08\x00 an archive of another program, long enough for a line", errdefs.IsInvalidArgument, "is not the stream"},
		{"mos-volume-stream 2 anything at all, or more, of any length", errdefs.IsNotImplemented, "of version 2 and this program reads up to 1"},
		{"mos-volume-stream 2\n", errdefs.IsNotImplemented, "use a newer one"},
		{"mos-volume-stream 1\n", errdefs.IsDataLoss, "not whole"},
		{"mos-volume-stream 0 107 00000000\n", errdefs.IsDataLoss, ""},
		{"mos-volume-stream 1 65537 00000000\n" + strings.Repeat("x", 70000), errdefs.IsDataLoss, "not whole"},
		{"mos-volume-stream 1 0 00000000\n\n", errdefs.IsDataLoss, "not whole"},
		{strings.Replace(string(headerOf(good)), " 1 ", " 01 ", 1), errdefs.IsDataLoss, "checksum"},
		{strings.Replace(string(headerOf(good)), " 1 ", " 1 +", 1), errdefs.IsDataLoss, "checksum"},
		{strings.TrimSuffix(string(headerOf(good)), "\n") + "x", errdefs.IsDataLoss, "checksum"},
	} {
		_, err := stream.Info(strings.NewReader(c.in))
		if !c.is(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v", c.in, err)
		}
	}
}

// TestInfoNeedsNoMore holds for a header at the end of what is there yet.
func TestInfoNeedsNoMore(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	go w.Write(headerOf(good))
	if h, err := stream.Info(r); err != nil || h.Volume != "v" {
		t.Fatalf("got %+v, %v", h, err)
	}
}
