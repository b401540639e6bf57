package authz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"

	"github.com/mosdocker/mosdocker/authz/judge"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
	"github.com/mosdocker/mosdocker/internal/fault"
)

// secretHeader carries the secret of this process.
const secretHeader = "X-Mos-Authz" //nolint:gosec // the name of a header

// engine asks an Engine whose objects are. It asks by the very names that the
// client used, so that the Engine finds what it would find for the client.
type engine struct {
	http   *http.Transport
	secret string
	owners sync.Map // of image ids to whether their containers get an owner by them
}

func newEngine(cfg Config, secret string) *engine {
	socket := strings.TrimPrefix(cfg.DockerHost, "unix://")
	return &engine{secret: secret, http: &http.Transport{
		DialContext:         dialer(socket),
		DisableCompression:  true,
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     90 * time.Second,
	}}
}

func dialer(socket string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
}

func (e *engine) close() { e.http.CloseIdleConnections() }

// do asks for a path below the Engine's API and reads the answer into out.
func (e *engine) do(ctx context.Context, method, path string, body, out any) error {
	text, err := e.ask(ctx, method, path, body)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// ask asks for a path below the Engine's API.
func (e *engine) ask(ctx context.Context, method, path string, body any) ([]byte, error) {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, &b)
	if err != nil {
		return nil, fault.Invalid("%q is no name of an object", path)
	}
	r.Header.Set(secretHeader, e.secret)
	if body != nil { // with the header, Engines that ask plugins make room for 4 MiB of it
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := e.http.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("the Engine does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusNotFound:
		return nil, fault.NotFound("%s", message(text))
	case resp.StatusCode >= http.StatusBadRequest:
		return nil, fmt.Errorf("the Engine answers: %s", message(text))
	}
	return text, nil
}

// message is the words of an Engine's error.
func message(text []byte) string {
	var e struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &e) != nil || e.Message == "" {
		return strings.TrimSpace(string(text))
	}
	return e.Message
}

// version is that of the Engine.
func (e *engine) version(ctx context.Context) (string, error) {
	var v struct{ Version string }
	err := e.do(ctx, http.MethodGet, "/version", nil, &v)
	return v.Version, err
}

// ungated says whether an Engine of a version serves gRPC past its plugins. A
// development version is taken for a new one.
func ungated(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, err := strconv.Atoi(strings.TrimPrefix(major, "v"))
	y, _ := strconv.Atoi(minor)
	return err != nil || x > 29 || x == 29 && y >= 2 || x < 17
}

// verify sees that of our labels a new container has just these: it gets those of its image
// too, whose name may mean another image than when it was judged. One that has others is
// removed, and why says so.
func (e *engine) verify(ctx context.Context, id string, labels map[string]string) (why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	var c struct {
		Config struct{ Labels map[string]string }
	}
	err = e.do(ctx, http.MethodGet, "/containers/"+id+"/json", nil, &c)
	if err == nil && maps.Equal(judge.Ours(c.Config.Labels), labels) {
		return "", nil
	}
	if gone := e.do(ctx, http.MethodDelete, "/containers/"+id+"?force=1&v=1", nil, nil); gone != nil {
		err = errors.Join(err, fmt.Errorf("remove what is not as it was judged: %w", gone))
	}
	return "the image became another one while this was decided: try again", err
}

// verifyLimit is for an Engine that hangs.
const verifyLimit = 30 * time.Second

// makeVolume makes a volume with its owner's label.
func (e *engine) makeVolume(ctx context.Context, v request.VolumeCreate) error {
	var made json.RawMessage
	if err := e.do(ctx, http.MethodPost, "/volumes/create", v, &made); err != nil {
		return err
	}
	return ownVolume(made, v.Labels[judge.OwnerLabel])
}

// ownVolume looks whose the volume is that an Engine says it made: one that has a volume of
// the name by now answers with that.
func ownVolume(made []byte, owner string) error {
	var v struct {
		Name   string            `json:"Name"`
		Labels map[string]string `json:"Labels"`
	}
	if err := json.Unmarshal(made, &v); err != nil {
		return fmt.Errorf("the new volume: %w", err)
	}
	if v.Labels[judge.OwnerLabel] != owner {
		return fault.Exists("volume %s was made by somebody else just now", v.Name)
	}
	return nil
}

// mostTold bounds the bytes of all answers to one decision, which keeps them: a request may
// name thousands of objects, and an answer be large.
const mostTold = 2 << 20 // which has some 7,000 containers of a network

// asker is an engine with the context of one decision, as [judge.Lookup] wants it.
type asker struct {
	ctx    context.Context   //nolint:containedctx // it lives as long as the call that it is of
	limit  time.Duration     // of all questions together
	cancel func()            // nil before the first
	told   map[string][]byte // answers by path: a name that is there twice is one object
	kept   int               // bytes of them all
	*engine
}

func (a *asker) end() {
	if a.cancel != nil {
		a.cancel()
	}
}

var plainName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// named gets an object by a name, which must stay one part of the path.
func (a *asker) named(kind, ref, path string, out any) error {
	if len(ref) > 255 || !plainName.MatchString(ref) {
		return fault.NotFound("no such %s: %.80q", kind, ref)
	}
	return a.get(path, out)
}

func (a *asker) get(path string, out any) error {
	if a.cancel == nil {
		a.ctx, a.cancel = context.WithTimeout(a.ctx, a.limit)
		a.told = map[string][]byte{}
	}
	text, known := a.told[path]
	if !known {
		var err error
		if text, err = a.ask(a.ctx, http.MethodGet, path, nil); err != nil {
			return err
		}
		if a.kept += len(text); a.kept > mostTold {
			return fault.Invalid("what this names takes more than %d KiB to look up: name fewer objects in one request", mostTold>>10)
		}
		a.told[path] = text
	}
	return json.Unmarshal(text, out)
}

func object(kind, name string, labels map[string]string) policy.Object {
	return policy.Object{Kind: kind, Name: name, Owner: labels[judge.OwnerLabel], Labels: labels}
}

// Container implements [judge.Lookup].
func (a *asker) Container(ref string) (judge.Found, error) {
	ref = strings.TrimPrefix(ref, "/")
	var c struct {
		ID     string `json:"Id"`
		Name   string
		Image  string
		Config struct{ Labels map[string]string }
		joins
	}
	if err := a.named("container", ref, "/containers/"+ref+"/json", &c); err != nil {
		return judge.Found{}, err
	}
	f := judge.Found{ID: c.ID, Object: object("container", strings.TrimPrefix(c.Name, "/"), c.Config.Labels)}
	f.Nets, f.Peers = c.joined()
	if f.Owner != "" && a.makesOwners(c.Image) {
		f.Owner = ""
	}
	return f, nil
}

// joins is what a container joins when it starts.
type joins struct {
	HostConfig struct {
		NetworkMode string   `json:"NetworkMode"`
		IpcMode     string   `json:"IpcMode"`
		PidMode     string   `json:"PidMode"`
		Links       []string `json:"Links"`
	} `json:"HostConfig"`
	NetworkSettings struct {
		Networks map[string]*struct {
			NetworkID string `json:"NetworkID"`
		} `json:"Networks"`
	} `json:"NetworkSettings"`
}

// joined are the networks and containers as an Engine finds them: by an id before a name.
func (j *joins) joined() (nets, peers []string) {
	h := j.HostConfig
	for _, mode := range []string{h.NetworkMode, h.IpcMode, h.PidMode} {
		if ref, ok := strings.CutPrefix(mode, "container:"); ok {
			peers = append(peers, ref)
		}
	}
	for _, l := range h.Links {
		ref, _, _ := strings.Cut(l, ":")
		peers = append(peers, ref)
	}
	if strings.HasPrefix(h.NetworkMode, "container:") {
		return nil, peers
	}
	for name, e := range j.NetworkSettings.Networks {
		switch name {
		case "default", "bridge", "none", "host":
		default:
			if e != nil && e.NetworkID != "" {
				name = e.NetworkID
			}
		}
		nets = append(nets, name)
	}
	if len(nets) == 0 {
		nets = append(nets, h.NetworkMode)
	}
	return nets, peers
}

// makesOwners says whether an image gives its containers an owner, which then is
// whom the image's builder chose and not who made the container. So says one that
// is gone: nobody knows any more.
func (a *asker) makesOwners(id string) bool {
	if known, ok := a.owners.Load(id); ok {
		return known == true
	}
	var i struct {
		Config struct{ Labels map[string]string }
	}
	if err := a.named("image", strings.TrimPrefix(id, "sha256:"), "/images/"+id+"/json", &i); err != nil {
		return true
	}
	makes := i.Config.Labels[judge.OwnerLabel] != ""
	a.owners.Store(id, makes) // an image of an id never changes
	return makes
}

// Exec implements [judge.Lookup].
func (a *asker) Exec(id string) (string, error) {
	var e struct{ ContainerID string }
	err := a.named("exec", id, "/exec/"+id+"/json", &e)
	return e.ContainerID, err
}

// Image implements [judge.Lookup].
func (a *asker) Image(ref string) (judge.Found, error) {
	if _, err := reference.ParseAnyReference(ref); err != nil {
		return judge.Found{}, fault.NotFound("no such image: %.80q", ref)
	}
	var i struct {
		ID                    string `json:"Id"`
		RepoTags, RepoDigests []string
		Config                struct {
			Labels  map[string]string
			Volumes map[string]struct{}
			OnBuild []string
		}
	}
	if err := a.get("/images/"+ref+"/json", &i); err != nil {
		return judge.Found{}, err
	}
	f := judge.Found{ID: i.ID, Object: object("image", ref, i.Config.Labels), Names: names(i.RepoTags, i.RepoDigests)}
	f.Owner = builder(i.Config.Labels, f.Names)
	f.Paths, f.Builds = slices.Collect(maps.Keys(i.Config.Volumes)), i.Config.OnBuild
	return f, nil
}

// names are the full ones of an image's tags and digests. Engines before 24 list an image that
// has none as <none>.
func names(tags, digests []string) []string {
	var out []string
	for _, n := range slices.Concat(tags, digests) {
		if r, err := reference.ParseNormalizedNamed(n); err == nil {
			out = append(out, r.String())
		}
	}
	return out
}

// builder is whose an image is, "" for nobody's, which is shared. The steps of a classic build
// are images, too, and get the builder's label with the last one only.
func builder(labels map[string]string, names []string) string {
	if o := labels[judge.BuilderLabel]; o != "" || len(names) > 0 {
		return o
	}
	return judge.SomeBuild
}

// Volume implements [judge.Lookup].
func (a *asker) Volume(name string) (judge.Found, error) {
	var v struct {
		Name, Driver string
		Labels       map[string]string
		Status       struct {
			Users []string `json:"users"`
		}
	}
	if err := a.named("volume", name, "/volumes/"+name, &v); err != nil {
		return judge.Found{}, err
	}
	driver, _, _ := strings.Cut(v.Driver, ":") // managed plugins have a tag
	return judge.Found{ID: v.Name, Driver: driver, Users: v.Status.Users, Object: object("volume", v.Name, v.Labels)}, nil
}

// Network implements [judge.Lookup].
func (a *asker) Network(ref string) (judge.Found, error) {
	var n struct {
		ID     string `json:"Id"`
		Name   string
		Labels map[string]string
	}
	if err := a.named("network", ref, "/networks/"+ref, &n); err != nil {
		return judge.Found{}, err
	}
	return judge.Found{ID: n.ID, Object: object("network", n.Name, n.Labels)}, nil
}

var _ judge.Lookup = (*asker)(nil)
