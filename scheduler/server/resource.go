package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// resource is *T, which is a resource.
type resource[T any] interface {
	*T
	api.Resource
}

// kind is how the resources of one kind are served.
type kind[R api.Resource] struct {
	one string // of them, in words
	// wish takes over what users may say of a resource; nil where they may say nothing.
	wish func(to, from R)
	// passes says whether a list with these filters has a resource.
	passes func(listInput, R) bool
	stays  bool // until the leader takes it away
	atOnce bool // it goes when it is asked to
}

func (s *Server) resources() {
	serve(s, kind[*api.Service]{one: "service", wish: func(to, from *api.Service) { to.Spec = from.Spec }})
	serve(s, kind[*api.Host]{one: "host", wish: func(to, from *api.Host) { to.Spec = from.Spec }})
	serve(s, kind[*api.SetInstance]{one: "set", passes: func(q listInput, i *api.SetInstance) bool {
		return (q.Service == "" || i.Spec.Service == q.Service) && (q.Host == "" || i.Spec.Host == q.Host)
	}})
	serve(s, kind[*api.Operation]{one: "operation", wish: wishOperation, stays: true})
	serve(s, kind[*api.Network]{one: "network", wish: func(to, from *api.Network) { to.Spec = from.Spec }})
	serve(s, kind[*api.Leftover]{one: "leftover"})
	serve(s, kind[*api.Revocation]{one: "revocation", wish: func(to, from *api.Revocation) {
		if to.Created.IsZero() {
			to.Spec = from.Spec
		}
	}, atOnce: true})
	serve(s, kind[*api.Quota]{one: "quota", wish: func(to, from *api.Quota) { to.Spec = from.Spec }, atOnce: true})
	serve(s, kind[*api.Event]{one: "event", passes: func(q listInput, e *api.Event) bool {
		return q.On == "" || q.On == string(e.Spec.On.Kind)+"/"+e.Spec.On.Name
	}})
}

// encode writes a body. What it is given can be written.
func encode(v any) []byte {
	data, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(err) // a type that JSON has no form for
	}
	return append(data, '\n')
}

type output struct {
	Type string `header:"Content-Type"`
	Body []byte
}

func answer(v any) *output { return &output{"application/json", encode(v)} }

type resourceOutput struct {
	Status int
	Type   string `header:"Content-Type"`
	ETag   string `doc:"The revision, for If-Match."                   header:"ETag"`
	Replay string `doc:"true where the key had made the resource before." header:"Idempotency-Replayed"`
	Body   []byte
}

func answerOne(r api.Resource, status int) *resourceOutput {
	return &resourceOutput{Status: status, Type: "application/json", ETag: etag(r), Body: encode(r)}
}

func etag(r api.Resource) string { return strconv.Quote(strconv.FormatInt(r.Head().Revision, 10)) }

// matching reads an If-Match: a revision, or 0 for *.
func matching(header string) (int64, error) {
	if header == "*" {
		return 0, nil
	}
	text, err := strconv.Unquote(header)
	if err == nil {
		if revision, err := strconv.ParseInt(text, 10, 64); err == nil && revision > 0 {
			return revision, nil
		}
	}
	return 0, fault.Invalid("If-Match: %.40s is no ETag of a resource", header)
}

// same refuses a change that was made from another state of a resource.
func same(r api.Resource, want int64) error {
	if want == 0 || want == r.Head().Revision {
		return nil
	}
	return fault.Of(errdefs.ErrAborted, "%s %s was changed meanwhile (revision %d, not %d): read it again",
		strings.TrimSuffix(string(r.Kind()), "s"), r.Head().Name, r.Head().Revision, want)
}

type nameInput struct {
	Name string `maxLength:"253" path:"name"`
}

func serve[T any, R resource[T]](s *Server, k kind[R]) {
	what := R(new(T)).Kind()
	of, page := reflect.TypeFor[T](), reflect.TypeFor[api.Page[T]]()
	title := strings.ToUpper(k.one[:1]) + k.one[1:]
	path := "/v1/" + string(what)
	register(s, operation{
		id: "list" + title + "s", method: http.MethodGet, path: path, summary: "List " + string(what) + ", page by page at one revision.",
		verb: look, kind: what, out: page,
	}, func(ctx context.Context, q *listInput) (*output, error) { return list[T](ctx, s, k, *q) })
	register(s, operation{
		id: "get" + title, method: http.MethodGet, path: path + "/{name}", summary: "Read one.", verb: look, kind: what, out: of,
	}, func(ctx context.Context, in *nameInput) (*resourceOutput, error) {
		r, err := state.Get[T, R](ctx, s.cfg.Store, in.Name)
		if err == nil && !callOf(ctx).sees(r) {
			err = fault.NotFound("%s %q is not there", k.one, clip(in.Name))
		}
		if err == nil {
			err = s.told(ctx, r)
		}
		if err != nil {
			return nil, err
		}
		return answerOne(r, http.StatusOK), nil
	})
	if k.wish == nil {
		return
	}
	register(s, operation{
		id: "create" + title, method: http.MethodPost, path: path, summary: "Create one; with wait, answer when it is as wished.",
		verb: create, kind: what, in: of, out: of, status: http.StatusCreated,
	}, func(ctx context.Context, in *createInput) (*resourceOutput, error) { return made[T](ctx, s, k, in) })
	register(s, operation{
		id: "replace" + title, method: http.MethodPut, path: path + "/{name}", summary: "Change what is wished, from the state that If-Match or revision names.",
		verb: change, kind: what, in: of, out: of,
	}, func(ctx context.Context, in *changeInput) (*resourceOutput, error) { return replaced[T](ctx, s, k, in) })
	register(s, operation{
		id: "patch" + title, method: http.MethodPatch, path: path + "/{name}", summary: "Change a part of what is wished, whatever the rest is.",
		verb: change, kind: what, in: of, out: of,
	}, func(ctx context.Context, in *changeInput) (*resourceOutput, error) { return patched[T](ctx, s, k, in) })
	if k.stays {
		return
	}
	register(s, operation{
		id: "delete" + title, method: http.MethodDelete, path: path + "/{name}", summary: "Ask it to go: it stays until nothing of it is left.",
		verb: remove, kind: what, out: of, status: http.StatusAccepted,
	}, func(ctx context.Context, in *deleteInput) (*resourceOutput, error) {
		r, err := edit(ctx, s, in.Name, in.IfMatch, func(r R) error {
			if r.Head().Deleted.IsZero() {
				r.Head().Deleted = s.cfg.Now().UTC().Round(0)
			}
			return nil
		})
		if err == nil && k.atOnce {
			err = s.cfg.Store.Delete(ctx, r)
		}
		if err != nil {
			return nil, err
		}
		return answerOne(r, http.StatusAccepted), nil
	})
}

// usualLimit is how many items a page has where nobody says.
const usualLimit = 500

type listInput struct {
	Limit    int      `doc:"Items of a page at most; 500 if nothing is said. With a filter a page may have fewer." maximum:"5000" minimum:"0" query:"limit"`
	Continue string   `doc:"That of the page before."                                                              query:"continue"`
	Labels   []string `doc:"Only those with these labels, KEY=VALUE or KEY."                                       query:"label,explode"`
	Service  string   `doc:"Only sets of this service."                                                            query:"service"`
	Host     string   `doc:"Only sets on this host."                                                               query:"host"`
	On       string   `doc:"Only events on this resource, such as services/web."                                   query:"on"`
}

// has says whether a resource has all labels of the filter.
func (q listInput) has(labels map[string]string) bool {
	for _, l := range q.Labels {
		key, value, valued := strings.Cut(l, "=")
		got, ok := labels[key]
		if !ok || valued && got != value {
			return false
		}
	}
	return true
}

func list[T any, R resource[T]](ctx context.Context, s *Server, k kind[R], q listInput) (*output, error) {
	if q.Limit == 0 {
		q.Limit = usualLimit
	}
	if k.passes == nil && (q.Service != "" || q.Host != "" || q.On != "") {
		return nil, fault.Invalid("service and host are filters of sets, on is one of events: %ss have neither", k.one)
	}
	got, err := state.All[T, R](ctx, s.cfg.Store, state.Page{Limit: q.Limit, More: q.Continue})
	if err != nil {
		return nil, err
	}
	c := callOf(ctx)
	page := api.Page[T]{Items: make([]*T, 0, len(got.Items)), Revision: got.Revision, Continue: got.More}
	for _, item := range got.Items {
		r := R(item)
		if c.sees(r) && q.has(r.Head().Labels) && (k.passes == nil || k.passes(q, r)) {
			if err := s.told(ctx, r); err != nil {
				return nil, err
			}
			page.Items = append(page.Items, item)
		}
	}
	return answer(page), nil
}

type createInput struct {
	Key     string `doc:"A word of the client's: sent again with the same body, it gives what it made before." header:"Idempotency-Key" maxLength:"255"`
	DryRun  bool   `doc:"Check, and say what would become of it (a forecast, for services); store nothing."      query:"dryRun"`
	Wait    string `doc:"Answer when it is as wished, or after this time such as 30s with a problem."             query:"wait"`
	RawBody []byte
}

// asked reads a resource that users sent. What they may not say is passed over, so that
// what was read can be sent again.
func asked[T any, R resource[T]](k kind[R], body []byte) (wished, sent R, err error) {
	sent = R(new(T))
	if err := api.Decode(body, sent); err != nil {
		return nil, nil, err
	}
	wished = R(new(T))
	wished.Head().Name, wished.Head().Labels = sent.Head().Name, maps.Clone(sent.Head().Labels)
	k.wish(wished, sent)
	return wished, sent, nil
}

func made[T any, R resource[T]](ctx context.Context, s *Server, k kind[R], in *createInput) (*resourceOutput, error) {
	c := callOf(ctx)
	wait, err := s.patience(in.Wait)
	if err != nil {
		return nil, err
	}
	r, sent, err := asked(k, in.RawBody)
	if err != nil {
		return nil, err
	}
	c.name = r.Head().Name
	if err := c.may(create, r.Kind(), c.name); err != nil {
		return nil, err
	}
	if err := s.judged(c, r); err != nil {
		return nil, err
	}
	if sent.Head().Revision != 0 {
		return nil, fault.Invalid("revision: %s %s has one, so it is stored already: change it by PUT, or drop the revision", k.one, c.name)
	}
	if err := s.mayDeclare(ctx, r); err != nil {
		return nil, err
	}
	s.stamp(r)
	if err := s.planned(ctx, r); err != nil {
		return nil, err
	}
	if err := s.affordable(ctx, r, nil); err != nil {
		return nil, err
	}
	if in.DryRun {
		return s.forecast(ctx, r)
	}
	r.Head().Request = request(in.Key, in.RawBody)
	err = s.cfg.Store.Create(ctx, r)
	out := answerOne(r, http.StatusCreated)
	if in.Key != "" && errdefs.IsAlreadyExists(err) {
		if r, err = again[T, R](ctx, s, c.name, r.Head().Request, err); err == nil {
			out = answerOne(r, http.StatusCreated)
			out.Replay = "true"
		}
	}
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		return s.awaited(ctx, r, wait, http.StatusCreated)
	}
	return out, nil
}

// request is what a key and the body that came with it are known by.
func request(key string, body []byte) string {
	if key == "" {
		return ""
	}
	half := func(data []byte) string {
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:16])
	}
	return half([]byte(key)) + "-" + half(body)
}

// again is the resource that a request had made before, else the error that it is there.
func again[T any, R resource[T]](ctx context.Context, s *Server, name, request string, exists error) (R, error) {
	r, err := state.Get[T, R](ctx, s.cfg.Store, name)
	if err != nil {
		return nil, err
	}
	was := r.Head().Request
	key, _, _ := strings.Cut(request, "-")
	switch {
	case was == request:
		return r, nil
	case strings.HasPrefix(was, key+"-"):
		return nil, fault.Invalid("Idempotency-Key: it made %s of another body: take a new key", name)
	}
	return nil, exists
}

type changeInput struct {
	Name    string `maxLength:"253"                                                                                 path:"name"`
	IfMatch string `doc:"The ETag of the state that the change was made from, or * for whatever is there." header:"If-Match"`
	DryRun  bool   `doc:"Check, and say what would become of it; store nothing."                             query:"dryRun"`
	Wait    string `doc:"Answer when it is as wished, or after this time such as 30s with a problem."         query:"wait"`
	RawBody []byte
}

func replaced[T any, R resource[T]](ctx context.Context, s *Server, k kind[R], in *changeInput) (*resourceOutput, error) {
	r, sent, err := asked(k, in.RawBody)
	if err != nil {
		return nil, err
	}
	if r.Head().Name != in.Name {
		return nil, fault.Invalid("name: %.60q is sent to %.60q: names are not changed", r.Head().Name, in.Name)
	}
	if in.IfMatch == "" {
		if sent.Head().Revision == 0 {
			return nil, api.ProblemOf(http.StatusPreconditionRequired,
				"say from which state the change was made: send its revision, or If-Match with its ETag, or If-Match: * for whatever is there")
		}
		in.IfMatch = etag(sent)
	}
	return changed(ctx, s, in, func(to R) error {
		to.Head().Labels = r.Head().Labels
		k.wish(to, r)
		return nil
	})
}

func patched[T any, R resource[T]](ctx context.Context, s *Server, k kind[R], in *changeInput) (*resourceOutput, error) {
	p, err := parsePatch(in.RawBody)
	if err != nil {
		return nil, err
	}
	return changed(ctx, s, in, func(to R) error {
		data, err := api.Encode(to)
		if err != nil {
			return err
		}
		if data, err = p.apply(data); err != nil {
			return err
		}
		r, _, err := asked(k, data)
		if err != nil {
			return err
		}
		to.Head().Labels = r.Head().Labels
		k.wish(to, r)
		return nil
	})
}

func changed[T any, R resource[T]](ctx context.Context, s *Server, in *changeInput, f func(R) error) (*resourceOutput, error) {
	wait, err := s.patience(in.Wait)
	if err != nil {
		return nil, err
	}
	wish := f
	f = func(r R) error {
		had, was := subnets(r), serviceOf(r)
		if err := wish(r); err != nil {
			return err
		}
		if !slices.Equal(had, subnets(r)) {
			return fault.Invalid("spec.pools: the subnets of a network are not changed: remove it when no service names it, and make it anew")
		}
		if err := s.affordable(ctx, r, was); err != nil {
			return err
		}
		return s.judged(callOf(ctx), r)
	}
	if in.DryRun {
		r, err := state.Get[T, R](ctx, s.cfg.Store, in.Name)
		if err == nil {
			err = f(r)
		}
		if err != nil {
			return nil, err
		}
		return s.forecast(ctx, r)
	}
	r, err := edit(ctx, s, in.Name, in.IfMatch, func(r R) error {
		if !r.Head().Deleted.IsZero() {
			text := ""
			if r.Kind() == api.Hosts {
				text = ": its removal is not taken back; when it is out, mosd there joins it anew"
			}
			return fault.Conflict("%s %s is being removed and cannot be changed%s", strings.TrimSuffix(string(r.Kind()), "s"), in.Name, text)
		}
		if err := s.mayCancel(ctx, r); err != nil {
			return err
		}
		return f(r)
	})
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		return s.awaited(ctx, r, wait, http.StatusOK)
	}
	return answerOne(r, http.StatusOK), nil
}

// edit changes a resource that is still as If-Match has it.
func edit[T any, R resource[T]](ctx context.Context, s *Server, name, ifMatch string, f func(R) error) (R, error) {
	var want int64
	if ifMatch != "" {
		var err error
		if want, err = matching(ifMatch); err != nil {
			return nil, err
		}
	}
	return state.Edit(ctx, s.cfg.Store, name, func(r R) error {
		if err := same(r, want); err != nil {
			return err
		}
		return f(r)
	})
}

type deleteInput struct {
	Name    string `maxLength:"253"                                                                path:"name"`
	IfMatch string `doc:"The ETag of the state that is to go; without, whatever is there." header:"If-Match"`
}
