package authz

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/authz/dockerfile"
	"github.com/mosdocker/mosdocker/authz/judge"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
	"github.com/mosdocker/mosdocker/internal/fault"
)

// proxy is the guarded socket. Connections that are turned into others (attach,
// exec) are only handed on once the Engine has answered that it did so: before
// that, and when it did not, what the client sends is a request to be judged.
type proxy struct {
	d         *Daemon
	reverse   *httputil.ReverseProxy
	bodyLimit time.Duration // for a body that is judged to arrive
}

// passage is what becomes of one request on its way.
type passage struct {
	uri  string // "" is the client's own
	body []byte // nil is the client's own
	show string // of a list of images, see judge.Edit
	// labels are those of ours that a new container is to have, nil for what makes none.
	labels map[string]string
	made   string // owner of a volume, see judge.Edit
	// refused is why a build is, once its Dockerfile was seen; nil for what is no build.
	refused chan error
	copied  chan struct{} // closed when nobody reads the context any more
}

type passageKey struct{}

func (d *Daemon) newProxy() *proxy {
	p := &proxy{d: d, bodyLimit: 30 * time.Second}
	p.reverse = &httputil.ReverseProxy{ // without a FlushInterval only answers of unknown length are flushed, which streams are
		Rewrite: p.rewrite, Transport: d.engine.http, BufferPool: &buffers{},
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the client is gone
			}
			if why := refusal(r); why != nil {
				answer(w, http.StatusForbidden, why.Error())
				return
			}
			answer(w, http.StatusBadGateway, "mos-authz: the Engine does not answer: "+err.Error())
		},
		ModifyResponse: p.modify,
	}
	return p
}

// ServeHTTP judges a request and hands it on.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := callerOf(r)
	if from == nil {
		answer(w, http.StatusForbidden, "mos-authz: the kernel does not tell who you are")
		return
	}
	if !p.within(w, r, from) {
		return
	}
	raw := request.Raw{Method: r.Method, URI: r.RequestURI, Header: r.Header, Whole: true}
	if !request.IsStream(raw.Method, raw.URI) {
		body, err := p.read(w, r)
		if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
			answer(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("mos-authz: the body is larger than %d bytes", big.Limit))
			return
		} else if err != nil {
			answer(w, http.StatusBadRequest, "mos-authz: the body is cut off: "+err.Error())
			return
		}
		raw.Body = body
	}
	v := p.d.decide(r.Context(), judge.Proxy, from.who, raw)
	switch {
	case !v.Allow && v.Missing != nil && v.Action == "container.create": // what is not found there is the image, for docker run, which then pulls it
		answer(w, http.StatusBadRequest, v.Reason)
		return
	case !v.Allow && v.Missing != nil:
		answer(w, http.StatusNotFound, v.Reason)
		return
	case !v.Allow:
		answer(w, http.StatusForbidden, "authorization denied by mos-authz: "+v.Reason+" ["+v.Rule+"]")
		return
	}
	pass := &passage{}
	if raw.Body != nil {
		pass.body = raw.Body
	}
	if !v.Free && !v.Denied {
		if err := p.edit(w, r, from, pass, &v); err != nil {
			answer(w, http.StatusBadRequest, "mos-authz: "+err.Error())
			return
		}
	}
	if pass.copied != nil {
		defer func() { // what reads of the connection must not read of the next request
			ctl := http.NewResponseController(w)
			_ = ctl.Flush()
			_ = ctl.SetReadDeadline(time.Now().Add(p.bodyLimit))
			<-pass.copied
			_ = ctl.SetReadDeadline(time.Time{})
		}()
	}
	p.reverse.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), passageKey{}, pass)))
}

// read is a body that is judged. One that does not arrive in time is cut off: else whoever
// announces it holds what it has taken of this process.
func (p *proxy) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return []byte{}, nil
	}
	ctl := http.NewResponseController(w)
	_ = ctl.SetReadDeadline(time.Now().Add(p.bodyLimit)) // a recorder has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if err == nil { // else what is left of the body would be waited for once more
		_ = ctl.SetReadDeadline(time.Time{})
	}
	return body, err
}

// edit makes a tenant's request safe and his own.
func (p *proxy) edit(w http.ResponseWriter, r *http.Request, from *caller, pass *passage, v *judge.Verdict) (err error) {
	c, e := v.Call, &v.Edit
	if e.Ref != "" || e.Params != nil {
		ref, params := c.Ref, c.Params
		if e.Ref != "" {
			ref = e.Ref
		}
		if e.Params != nil {
			params = e.Params
		}
		pass.uri = c.URI(ref, params)
	}
	if e.Label != "" || len(e.Peers) > 0 || e.Mounts != nil {
		if pass.body, err = editBody(pass.body, e); err != nil {
			return err
		}
	}
	if e.Bases && v.Mode == policy.Enforce { // the other modes let through what it would refuse
		if err := p.pinBases(w, r, from, c, pass); err != nil {
			return err
		}
	}
	if c.Action == "container.copy-in" {
		if err := plainTar(r); err != nil {
			return err
		}
	}
	for _, vol := range e.Volumes {
		if err := p.d.engine.makeVolume(r.Context(), vol); err != nil {
			return fmt.Errorf("make volume %s: %w", vol.Name, err)
		}
	}
	pass.show, pass.made = e.Shown, e.Made
	if pass.labels = e.Ours; pass.labels != nil && e.Label != "" {
		pass.labels[judge.OwnerLabel] = e.Label
	}
	return nil
}

// pinBases has the images that a build reads judged as its context goes by.
func (p *proxy) pinBases(w http.ResponseWriter, r *http.Request, from *caller, c *request.Call, pass *passage) error {
	var args map[string]*string
	if text := c.Param("buildargs"); text != "" {
		if err := json.Unmarshal([]byte(text), &args); err != nil {
			return fault.Invalid("parameter buildargs is no JSON object of strings")
		}
	}
	given := map[string]string{}
	for name, value := range args {
		if value != nil {
			given[name] = *value
		}
	}
	pass.refused, pass.copied = make(chan error, 1), make(chan struct{})
	in, out := io.Pipe()
	body, ctl := r.Body, http.NewResponseController(w)
	ids := map[string]string{} // by name: a Dockerfile has room for 100,000 of them, and a context for any number of Dockerfiles
	pin := func(text string) (string, error) {
		return dockerfile.Pin(text, given, func(ref string) (id string, err error) {
			if id, known := ids[ref]; known {
				return id, nil
			}
			if len(ids) == mostBases {
				return "", fault.Invalid("a build may read %d images at most", mostBases)
			}
			if id, err = p.d.base(r.Context(), from.who, ref); err == nil {
				ids[ref] = id
			}
			return id, err
		})
	}
	go func() {
		err := errors.New("the look at the Dockerfile broke inside: see the log of mos-authz")
		defer close(pass.copied)
		defer func() {
			if v := recover(); v != nil {
				p.d.log.ErrorContext(r.Context(), "the look at a build context broke", "panic", v)
			}
			if err != nil {
				pass.refused <- fmt.Errorf("authorization denied by mos-authz: %w", err)
			}
			_ = out.CloseWithError(err) // nil is the end
		}()
		err = copyContext(out, body, c.Param("dockerfile"), pin)
		_ = ctl.SetReadDeadline(time.Now().Add(p.bodyLimit))
		_, _ = io.Copy(io.Discard, io.LimitReader(body, restOfBody)) // a client that still sends would not read an answer
		_ = ctl.SetReadDeadline(time.Time{})
	}()
	r.Body, r.ContentLength = in, -1
	r.Header.Del("Content-Length")
	return nil
}

// mostBases bounds what one build has the Engine asked, and noted.
const mostBases = 100

// restOfBody is read of a build context after its end, or after what it is refused for.
const restOfBody = 64 << 20

// refusal is why a build is refused, nil where it is not.
func refusal(r *http.Request) error {
	pass, _ := r.Context().Value(passageKey{}).(*passage)
	if pass == nil {
		return nil
	}
	select {
	case err := <-pass.refused:
		pass.refused <- err
		return err
	default:
		return nil
	}
}

func (p *proxy) rewrite(r *httputil.ProxyRequest) {
	pass, _ := r.In.Context().Value(passageKey{}).(*passage)
	out := r.Out
	out.URL.Scheme, out.URL.Host, out.Host = "http", "docker", "docker"
	if pass.uri != "" {
		path, query, _ := strings.Cut(pass.uri, "?")
		out.URL = &url.URL{Scheme: "http", Host: "docker", Path: path, RawQuery: query}
	}
	for k := range out.Header {
		if strings.HasPrefix(k, "X-Mos-") {
			out.Header.Del(k)
		}
	}
	out.Header.Set(secretHeader, p.d.secret)
	if pass.body != nil {
		out.Body, out.ContentLength, out.TransferEncoding = io.NopCloser(bytes.NewReader(pass.body)), int64(len(pass.body)), nil
		if len(pass.body) == 0 {
			out.Body = http.NoBody
		}
	}
}

// modify narrows lists of images, and takes new containers back that are not what was judged.
func (p *proxy) modify(resp *http.Response) error {
	pass, _ := resp.Request.Context().Value(passageKey{}).(*passage)
	switch {
	case pass == nil:
		return nil
	case pass.refused != nil:
		return refusal(resp.Request) // else what the Engine says of half an archive is told
	case pass.show != "" && resp.StatusCode == http.StatusOK:
		return replace(resp, func(text []byte) ([]byte, error) { return narrowed(text, pass.show) })
	case pass.made != "" && resp.StatusCode == http.StatusCreated:
		return replace(resp, func(text []byte) ([]byte, error) {
			err := ownVolume(text, pass.made)
			if err == nil {
				return text, nil
			}
			resp.StatusCode, resp.Status = http.StatusConflict, ""
			return json.Marshal(map[string]string{"message": "authorization denied by mos-authz: " + err.Error()})
		})
	case pass.labels != nil && resp.StatusCode == http.StatusCreated:
		return replace(resp, func(text []byte) ([]byte, error) {
			var made struct {
				ID string `json:"Id"`
			}
			if err := json.Unmarshal(text, &made); err != nil {
				return nil, fmt.Errorf("the new container: %w", err)
			}
			why, err := p.d.engine.verify(context.WithoutCancel(resp.Request.Context()), made.ID, pass.labels)
			if err != nil || why == "" {
				return text, err
			}
			resp.StatusCode, resp.Status = http.StatusConflict, ""
			return json.Marshal(map[string]string{"message": "authorization denied by mos-authz: " + why})
		})
	}
	return nil
}

// replace exchanges what an answer says.
func replace(resp *http.Response, f func([]byte) ([]byte, error)) error {
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // all of it was read
	if text, err = f(text); err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	resp.ContentLength = int64(len(text))
	resp.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

// narrowed is a list of images without those of others than an owner.
func narrowed(text []byte, owner string) ([]byte, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("list of images: %w", err)
	}
	shown := make([]json.RawMessage, 0, len(all))
	for _, one := range all {
		var i struct {
			Labels      map[string]string `json:"Labels"`
			RepoTags    []string          `json:"RepoTags"`
			RepoDigests []string          `json:"RepoDigests"`
		}
		if err := json.Unmarshal(one, &i); err != nil {
			return nil, fmt.Errorf("list of images: %w", err)
		}
		if o := builder(i.Labels, names(i.RepoTags, i.RepoDigests)); o == "" || o == owner {
			shown = append(shown, one)
		}
	}
	return json.Marshal(shown)
}

// editBody puts the owner's label and the ids of containers into a body. Whatever
// else is in it stays byte by byte.
func editBody(body []byte, e *judge.Edit) ([]byte, error) {
	top := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &top); err != nil {
		return nil, err
	}
	if e.Label != "" {
		labels := map[string]string{}
		if text := top["Labels"]; len(text) > 0 {
			if err := json.Unmarshal(text, &labels); err != nil {
				return nil, err
			}
		}
		if labels == nil { // null
			labels = map[string]string{}
		}
		labels[judge.OwnerLabel] = e.Label
		if err := put(top, "Labels", labels); err != nil {
			return nil, err
		}
	}
	var host map[string]json.RawMessage
	if text := top["HostConfig"]; len(text) > 0 {
		if err := json.Unmarshal(text, &host); err != nil {
			return nil, err
		}
	}
	changed := false
	for field, id := range e.Peers {
		var err error
		if field == "Container" {
			err = put(top, field, id)
		} else {
			changed = true
			err = put(host, field, "container:"+id)
		}
		if err != nil {
			return nil, err
		}
	}
	if e.Mounts != nil {
		if host == nil { // absent or null
			host = map[string]json.RawMessage{}
		}
		changed = true
		if err := put(host, "Mounts", e.Mounts); err != nil {
			return nil, err
		}
	}
	if changed {
		if err := put(top, "HostConfig", host); err != nil {
			return nil, err
		}
	}
	return json.Marshal(top)
}

func put(m map[string]json.RawMessage, key string, v any) error {
	text, err := json.Marshal(v)
	m[key] = text
	return err
}

// plainTar refuses archives that an Engine would unpack with programs of the
// container before 29.5.1 (CVE-2026-41567).
func plainTar(r *http.Request) error {
	b := bufio.NewReaderSize(r.Body, 512)
	head, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, magic := range []string{"\x1f\x8b", "BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return errors.New("an archive that is copied into a container must not be compressed")
		}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{b, r.Body}
	return nil
}

// answer is an error as an Engine gives it.
func answer(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // the client may be gone
}

// buffers are those of answers under way.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
