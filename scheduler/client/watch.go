package client

import (
	"bufio"
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// Told is one event of a watch. What of it is api.Added, Modified, Removed or Bookmark.
type Told[T any] struct {
	What string
	api.Change[*T]
}

// Watch tells what changed after a revision, until ctx ends or the caller does. An error
// ends it: one of class OutOfRange says to list again, one of class Unavailable to watch
// again after the last revision.
func Watch[T any, R resource[T]](ctx context.Context, c *Client, after int64) iter.Seq2[Told[T], error] {
	return func(yield func(Told[T], error) bool) {
		q := url.Values{"kind": {string(R(new(T)).Kind())}, "from": {strconv.FormatInt(after, 10)}}
		resp, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/watch", query: q, header: map[string]string{"Accept": "text/event-stream"}})
		if err != nil {
			yield(Told[T]{}, err)
			return
		}
		defer resp.Body.Close() //nolint:errcheck // it is only read
		lines := bufio.NewScanner(resp.Body)
		const longest = 1 << 20 // above what the store takes
		lines.Buffer(nil, longest)
		var what, data string
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ": ")
			switch key {
			case "event":
				what = value
			case "data":
				data = value
			case "":
				if data == "" {
					continue
				}
				t, err := told[T](what, data)
				if !yield(t, err) || err != nil {
					return
				}
				what, data = "", ""
			}
		}
		if ctx.Err() == nil {
			yield(Told[T]{}, fault.Unavailable("the watch at %s ended: watch again", c.at))
		}
	}
}

func told[T any](what, data string) (Told[T], error) {
	t := Told[T]{What: what}
	switch what {
	case api.Added, api.Modified, api.Removed, api.Bookmark:
		if err := json.Unmarshal([]byte(data), &t.Change); err != nil {
			return t, fault.Unavailable("read an event of the watch: %w", err)
		}
		return t, nil
	}
	p := &api.Problem{}
	if err := json.Unmarshal([]byte(data), p); err != nil || p.Detail == "" {
		return t, fault.Unavailable("the watch told of %q, which is not known", what)
	}
	return t, p
}
