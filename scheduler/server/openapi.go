package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

const schemas = "#/components/schemas/"

// describe is the API before it has operations.
func describe(version string) huma.Config {
	c := huma.DefaultConfig("MosDocker scheduler", "1")
	c.Info.Description = "Services of sets over many hosts. Errors are problems of RFC 9457, whose code is a class in one word."
	if version != "" {
		c.Info.Extensions = map[string]any{"x-program": version}
	}
	// Its documents are made when they are first asked for, by as many as ask, and its pages
	// load scripts of others.
	c.OpenAPIPath, c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", "", nil
	c.RejectUnknownQueryParameters = true
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "A token that an admin made."},
		"mtls":   {Type: "mutualTLS", Description: "A certificate of the cluster's authority for mos://ROLE/NAME."},
	}
	c.Security = []map[string][]string{{"bearer": {}}, {"mtls": {}}}
	// What huma itself refuses becomes a problem of ours.
	c.Transformers = []huma.Transformer{func(_ huma.Context, _ string, v any) (any, error) {
		e, ok := v.(*huma.ErrorModel)
		if !ok {
			return v, nil
		}
		var flaws []api.Flaw
		text := []string{}
		for _, d := range e.Errors {
			flaws = append(flaws, api.Flaw{Location: d.Location, Message: d.Message})
			text = append(text, d.Location+": "+d.Message)
		}
		detail := e.Detail
		if len(text) > 0 {
			detail = strings.Join(text, "\n")
		}
		return api.ProblemOf(e.Status, detail, flaws...), nil
	}}
	return c
}

// setSchema stands for a set, whose schema is package setmgr/spec's.
type setSchema struct{}

// Schema implements [huma.SchemaProvider].
func (setSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Ref: schemas + "Set", Description: "A set without a name."}
}

// document is the API in JSON, with the schemas of sets.
func document(o *huma.OpenAPI) ([]byte, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write the API's document: %w", err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("write the API's document: %w", err)
	}
	var set struct {
		Defs map[string]any `json:"$defs"`
	}
	text := strings.ReplaceAll(string(spec.Schema()), `"#/$defs/`, `"`+schemas+"Set")
	text = strings.ReplaceAll(text, schemas+"SetSet", schemas+"Set")
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return nil, fmt.Errorf("write the schema of sets: %w", err)
	}
	into, ok := all["components"].(map[string]any)["schemas"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the API's document has no schemas")
	}
	for name, def := range set.Defs {
		if name != "Set" {
			name = "Set" + name
		}
		if _, taken := into[name]; taken {
			return nil, fmt.Errorf("two schemas are named %s", name)
		}
		into[name] = def
	}
	if set, ok := into["Set"].(map[string]any); ok { // a template has no name
		delete(set, "required")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err = e.Encode(all)
	return b.Bytes(), err
}

// operation is one call of the API.
type operation struct {
	id, method, path string
	summary          string
	verb             verb
	kind             api.Kind
	in, out          reflect.Type // of bodies, nil for none
	stream           bool         // out is events of it
	status           int          // of success
}

// mostBody bounds a request's body in bytes, above what the store takes.
const mostBody = 512 << 10

// plan is an operation as huma has it, but for what it makes of the types.
func (o operation) plan() huma.Operation {
	status := o.status
	if status == 0 {
		status = http.StatusOK
	}
	return huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, Tags: []string{string(o.kind)},
		DefaultStatus: status, MaxBodyBytes: mostBody, SkipValidateBody: true,
		Metadata: map[string]any{"operation": o},
	}
}

// register adds an operation whose bodies are read and written by ourselves.
func register[I, O any](s *Server, o operation, f func(context.Context, *I) (*O, error)) {
	plan := o.plan()
	huma.Register(s.api, plan, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, api.NewProblem(err)
		}
		return out, nil
	})
	s.fill(o, plan)
}

// fill gives the document the schemas of bodies that huma sees as bytes only.
func (s *Server) fill(o operation, plan huma.Operation) {
	item := s.api.OpenAPI().Paths[o.path]
	op := map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
		http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}[o.method]
	registry := s.api.OpenAPI().Components.Schemas
	if o.in != nil {
		op.RequestBody.Content = map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(o.in, true, "")}}
		if o.method == http.MethodPatch {
			op.RequestBody.Content = map[string]*huma.MediaType{"application/merge-patch+json": {Schema: &huma.Schema{
				Type: "object", Description: "A merge patch (RFC 7396) of spec and labels: what is null goes, what is not named stays.",
			}}}
		}
	}
	if o.out != nil {
		kind := "application/json"
		if o.stream {
			kind = "text/event-stream"
		}
		op.Responses[strconv.Itoa(plan.DefaultStatus)].Content = map[string]*huma.MediaType{kind: {Schema: registry.Schema(o.out, true, "")}}
	}
	op.Responses["default"] = &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{
		"application/problem+json": {Schema: registry.Schema(reflect.TypeFor[api.Problem](), true, "")},
	}}
}
