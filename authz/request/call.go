package request

import (
	"mime"
	"net/url"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Raw is a request as a front has it.
type Raw struct {
	Method string
	URI    string              // as in the request's first line
	Header map[string][]string // keys as net/http writes them
	// Body is what the front has of the body. A stream's is empty.
	Body []byte
	// Whole says that Body is all of it, which only a proxy can know. Else the
	// length that the client announced must prove it: Engines show plugins an
	// empty body in place of one that is too large, or that is no JSON.
	Whole bool
}

// Call is a request that can be judged.
type Call struct {
	*Route
	Version string // of the API, "" when the client named none
	Ref     string // what the path names, as the client wrote it
	Params  map[string][]string
	Filters map[string][]string // of routes that list
	// Blind says that the body is a stream which the front cannot see, and that
	// an Engine may find parameters in it which win over those of the URI: an
	// Engine shows plugins the last Content-Type and heeds the first.
	Blind bool

	// The body, of the routes that have the type; else nil.
	Create     *Create
	Update     *Update
	Exec       *ExecCreate
	Commit     *Config
	Network    *NetworkCreate
	Volume     *VolumeCreate
	Connect    *Connect
	Disconnect *Disconnect
}

// Param returns a parameter's value, "" when it is missing.
func (c *Call) Param(name string) string {
	if v := c.Params[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Parse reads a request. An error is of class InvalidArgument and says what the
// client must send instead.
func Parse(raw Raw) (*Call, error) {
	t, err := canonical(raw.URI)
	if err != nil {
		return nil, err
	}
	r, ref := find(raw.Method, t.path)
	if r == nil {
		return nil, fault.Invalid("%.10s %.80s is no endpoint that this policy knows", raw.Method, t.path)
	}
	c := &Call{Route: r, Version: t.version, Ref: ref}
	if c.Params, err = params(r, t.query); err != nil {
		return nil, err
	}
	if err := c.upgrade(raw); err != nil {
		return nil, err
	}
	if err := c.body(raw); err != nil {
		return nil, err
	}
	return c, c.refine()
}

// refine gives the action its exact name where one endpoint has several, and
// reads the filters.
func (c *Call) refine() (err error) {
	if c.Lists {
		if c.Filters, err = filters(c.Param("filters")); err != nil {
			return err
		}
	}
	switch c.Action {
	case "image.pull":
		if (c.Param("fromImage") != "") == (c.Param("fromSrc") != "") {
			return fault.Invalid("want one of the parameters fromImage and fromSrc")
		}
		if c.Param("fromSrc") != "" {
			c.as("image.import")
		}
	case "image.build":
		switch v := c.Param("version"); v {
		case "", "1":
			if c.Param("session") != "" {
				c.as("image.buildkit")
			}
		case "2":
			c.as("image.buildkit")
		default:
			return fault.Invalid("builder version %.10q is not known", v)
		}
	}
	return nil
}

// as gives the call another action than its route's.
func (c *Call) as(action string) {
	r := *c.Route
	r.Action = action
	c.Route = &r
}

func (c *Call) upgrade(raw Raw) error {
	switch up := raw.Header["Upgrade"]; {
	case len(up) == 0:
		return nil
	case len(up) > 1 || c.Upgrade == "" || !strings.EqualFold(up[0], c.Upgrade):
		return fault.Invalid("the connection cannot be turned into %.20q here", strings.Join(up, ", "))
	}
	return nil
}

// mediaType is that of the body, "" when the client names none. A form is
// refused everywhere.
func mediaType(raw Raw) (string, error) {
	ct := raw.Header["Content-Type"]
	if len(ct) == 0 {
		return "", nil
	}
	if len(ct) > 1 {
		return "", fault.Invalid("there are %d Content-Type headers: send one", len(ct))
	}
	if ct[0] == "application/json" { // as most are
		return ct[0], nil
	}
	media, _, err := mime.ParseMediaType(ct[0])
	switch {
	case err != nil:
		return "", fault.Invalid("Content-Type %.80q cannot be read", ct[0])
	case media == "application/x-www-form-urlencoded", strings.HasPrefix(media, "multipart/"):
		return "", fault.Invalid("a body of type %s is not taken: put parameters into the URI", media)
	}
	return media, nil
}

// whole says whether the body that the front has is what the Engine will read.
func whole(raw Raw) error {
	if raw.Whole {
		return nil
	}
	l := raw.Header["Content-Length"]
	if len(l) == 0 {
		return fault.Invalid("the request has no Content-Length, so nobody can tell whether its body was seen: send one, 0 where there is no body")
	}
	n, err := strconv.Atoi(l[0])
	if err != nil || len(l) > 1 {
		return fault.Invalid("Content-Length %.40q is no number", strings.Join(l, ", "))
	}
	if n != len(raw.Body) {
		return fault.Invalid("the body has %d bytes and the Engine shows %d of them: it is too large, or its Content-Type is not application/json; a guarded socket takes larger ones", n, len(raw.Body))
	}
	return nil
}

// nothing says whether a request surely has no body.
func nothing(r *Route, raw Raw, media string) error {
	if len(raw.Body) > 0 {
		return fault.Invalid("%s %s takes no body", r.Method, r.Path)
	}
	// A request that has neither header may have a chunked body, but none that an
	// Engine looks at without its type.
	if len(raw.Header["Content-Length"]) == 0 && media == "" {
		return nil
	}
	return whole(raw)
}

func (c *Call) body(raw Raw) error {
	media, err := mediaType(raw)
	if err != nil {
		return err
	}
	switch c.Body {
	case Stream:
		// A pull has none, in which there could be parameters.
		if c.Param("fromImage") != "" {
			return nothing(c.Route, raw, media)
		}
		c.Blind = !raw.Whole
		return nil
	case Hidden:
		return nil
	case NoBody:
		return nothing(c.Route, raw, media)
	case Any, Optional, Typed:
	}
	if err := whole(raw); err != nil {
		return err
	}
	if len(raw.Body) == 0 && c.Body != Typed {
		return nil
	}
	if media != "application/json" {
		return fault.Invalid("want a body of Content-Type application/json, not %.40q", media)
	}
	if c.Body == Any {
		return well(raw.Body)
	}
	if c.Body == Optional && strings.TrimSpace(string(raw.Body)) == "null" {
		return nil
	}
	return c.decode(raw.Body)
}

func (c *Call) decode(body []byte) (err error) {
	switch c.Action {
	case "container.create":
		c.Create, err = Decode[Create](body)
		if err == nil && c.Create.HostConfig == nil {
			// Engines up to 26 then take its fields from the top level, where
			// they are unknown keys here; what is left is an empty one.
			c.Create.HostConfig = &HostConfig{}
		}
	case "container.update":
		c.Update, err = Decode[Update](body)
	case "container.exec":
		if c.Kind == Exec {
			_, err = Decode[ExecStart](body)
			return err
		}
		c.Exec, err = Decode[ExecCreate](body)
	case "container.commit":
		c.Commit, err = Decode[Config](body)
	case "network.create":
		c.Network, err = Decode[NetworkCreate](body)
	case "network.connect":
		c.Connect, err = Decode[Connect](body)
	case "network.disconnect":
		c.Disconnect, err = Decode[Disconnect](body)
	case "volume.create":
		c.Volume, err = Decode[VolumeCreate](body)
	default:
		return fault.Later("the body of %s has no type here", c.Action)
	}
	return err
}

// URI is the call's request URI with another name of its object and other
// parameters.
func (c *Call) URI(ref string, params map[string][]string) string {
	var b strings.Builder
	if c.Version != "" {
		b.WriteString("/v" + c.Version)
	}
	b.WriteString(strings.NewReplacer("{name}", ref, "{ref}", ref).Replace(c.Path))
	if len(params) > 0 {
		b.WriteString("?" + url.Values(params).Encode())
	}
	return b.String()
}
