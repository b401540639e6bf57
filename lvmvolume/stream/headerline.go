package stream

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/containerd/errdefs"
)

const (
	magic   = "mos-volume-stream"
	version = 1
	maxLine = len(magic) + len(" 1 65536 01234567\n")
)

// line is the first line of a stream with this JSON.
func line(text []byte) string {
	return fmt.Sprintf("%s %d %d %08x\n", magic, version, len(text), crc32.ChecksumIEEE(text))
}

// encode is the header as it stands in a stream.
func (h Header) encode() ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	h.Created = h.Created.UTC()
	if h.Options == nil {
		h.Options = map[string]string{}
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, invalid("encode the header of volume %s: %v", h.Volume, err)
	}
	if len(text) > MaxHeader {
		return nil, invalid("header of volume %s has %d bytes, more than %d: it has too many options", h.Volume, len(text), MaxHeader)
	}
	return fmt.Appendf(nil, "%s%s\n", line(text), text), nil
}

// readHeader gives the header and its bytes.
func readHeader(r *bufio.Reader) (Header, []byte, error) {
	first, n, err := readLine(r)
	if err != nil {
		return Header{}, nil, err
	}
	raw := make([]byte, len(first)+n+1)
	copy(raw, first)
	at := int64(len(first))
	if _, err := io.ReadFull(r, raw[at:]); err != nil {
		return Header{}, nil, broken(err, "header", at, 0)
	}
	text := raw[at : len(raw)-1]
	if raw[len(raw)-1] != '\n' || line(text) != first {
		return Header{}, nil, &DamageError{Reason: "the header's checksum does not fit"}
	}
	h, err := decode(text)
	if err != nil {
		return Header{}, nil, invalid("header of the stream: %v: it was not written by this program", err)
	}
	return h, raw, nil
}

// readLine gives the first line and the length of the JSON that it names. The
// line's other parts are compared whole when the JSON is there.
func readLine(r *bufio.Reader) (first string, length int, err error) {
	var b []byte
	for len(b) < maxLine && !bytes.HasSuffix(b, []byte("\n")) {
		c, err := r.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) && len(b) < len(magic) && !strings.HasPrefix(magic, string(b)) {
				return "", 0, foreign(b)
			}
			return "", 0, broken(err, "header", int64(len(b)), 0)
		}
		b = append(b, c)
	}
	words := strings.Split(strings.TrimSuffix(string(b), "\n"), " ")
	if words[0] != magic {
		return "", 0, foreign(b)
	}
	if len(words) > 1 && later(words[1]) {
		return "", 0, &failure{fmt.Sprintf("stream is of version %s and this program reads up to %d: use a newer one", words[1], version), errdefs.ErrNotImplemented}
	}
	if len(words) == 4 {
		length, _ = strconv.Atoi(words[2])
	}
	if length < 1 || length > MaxHeader {
		return "", 0, &DamageError{Reason: "its first line is not whole"}
	}
	return string(b), length, nil
}

func foreign(b []byte) error {
	return invalid("what begins with %q is not the stream of a volume: name a file or pipe that an export wrote", b)
}

func later(word string) bool {
	v, err := strconv.ParseUint(word, 10, 16)
	return err == nil && v > version
}

// decode reads the JSON strictly: package json alone takes members twice,
// missing, in other case, or null.
func decode(data []byte) (Header, error) {
	var h Header
	if !utf8.Valid(data) {
		return h, errors.New("it is not UTF-8")
	}
	members, err := object(data)
	if err != nil {
		return h, err
	}
	want := []string{"created", "fs", "host", "options", "size", "used", "volume"}
	if have := slices.Sorted(maps.Keys(members)); !slices.Equal(have, want) {
		return h, fmt.Errorf("it has the members %.200q, want %q", have, want)
	}
	if _, err := object(members["options"]); err != nil {
		return h, fmt.Errorf("options: %w", err)
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return h, err
	}
	h.Created = h.Created.UTC()
	return h, h.check()
}

// object gives the members of a JSON object, none of them twice or null.
func object(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		if _, twice := members[name]; twice || string(value) == "null" {
			return nil, fmt.Errorf("member %.64q is there twice or null", name)
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows its JSON object")
	}
	return members, nil
}
