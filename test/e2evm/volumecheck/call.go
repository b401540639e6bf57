package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/api"
)

const pluginSocket = "/run/docker/plugins/mos-lvm.sock"

// admin is the daemon's other socket.
func admin() *api.Client { return api.New("") }

// plugin asks mos-lvm as Docker does.
type plugin struct{ http http.Client }

func newPlugin() *plugin {
	return &plugin{http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 100,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", pluginSocket)
		},
	}}}
}

type answer struct {
	Err        string `json:"Err"`
	Mountpoint string `json:"Mountpoint"`
}

// errAnswered is an error that the driver told.
var errAnswered = errors.New("answered")

func (p *plugin) call(ctx context.Context, method string, body any) (answer, error) {
	raw, err := p.raw(ctx, method, body)
	if err != nil {
		return answer{}, err
	}
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, err
	}
	if a.Err != "" {
		return a, fmt.Errorf("%w: %s", errAnswered, a.Err)
	}
	return a, nil
}

func (p *plugin) raw(ctx context.Context, method string, body any) ([]byte, error) {
	b, ok := body.(json.RawMessage)
	if !ok {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://mos-lvm/VolumeDriver."+method, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	resp, err := p.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// callOne makes one call and prints the answer.
func callOne(ctx context.Context, _ options, args []string) error {
	if len(args) != 2 {
		return errors.New("want a method and its JSON")
	}
	raw, err := newPlugin().raw(ctx, args[0], json.RawMessage(args[1]))
	if err == nil {
		fmt.Println(string(bytes.TrimSpace(raw)))
	}
	return err
}

// times measures Get, one after the other and all at once, and List.
func times(ctx context.Context, o options, _ []string) error {
	p, n := newPlugin(), int(max(o.count, 1000))
	get := func() time.Duration {
		start := time.Now()
		if _, err := p.call(ctx, "Get", map[string]string{"Name": o.volume}); err != nil {
			fmt.Println("error:", err)
		}
		return time.Since(start)
	}
	ds := make([]time.Duration, n)
	for i := range ds {
		ds[i] = get()
	}
	tell("get", ds)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range ds {
		wg.Go(func() { ds[i] = get() })
	}
	wg.Wait()
	tell("get-parallel", ds)
	fmt.Println("get-parallel-all", time.Since(start))
	ds = ds[:10]
	for i := range ds {
		start := time.Now()
		if _, err := p.raw(ctx, "List", struct{}{}); err != nil {
			return err
		}
		ds[i] = time.Since(start)
	}
	tell("list", ds)
	return nil
}

func tell(what string, ds []time.Duration) {
	ds = slices.Clone(ds)
	slices.Sort(ds)
	fmt.Printf("%s n=%d p50=%v p99=%v max=%v\n", what, len(ds), ds[len(ds)/2], ds[len(ds)*99/100], ds[len(ds)-1])
}

// within mounts the volume of a command for its time.
func within(command func(context.Context, options, []string) error) func(context.Context, options, []string) error {
	return func(ctx context.Context, o options, args []string) (err error) {
		if o.volume == "" {
			return command(ctx, o, args)
		}
		p, id := newPlugin(), map[string]string{"Name": o.volume, "ID": fmt.Sprint("volumecheck-", os.Getpid())}
		a, err := p.call(ctx, "Mount", id)
		if err != nil {
			return err
		}
		o.file = filepath.Join(a.Mountpoint, o.file)
		defer func() {
			_, uerr := p.call(context.WithoutCancel(ctx), "Unmount", id)
			err = errors.Join(err, uerr)
		}()
		return command(ctx, o, args)
	}
}
