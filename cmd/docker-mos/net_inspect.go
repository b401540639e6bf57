package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"text/template"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/templates"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/mosbridge/api"
)

func (n network) inspect() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] NETWORK|CONTAINER [NETWORK|CONTAINER...]",
		Short:             "Show all that is known of networks and of containers' interfaces",
		Long:              "Show all that is known of networks and of containers' interfaces, as JSON.\n\nNames, ids and beginnings of ids are understood, of endpoints too. Rates are in bits per second, 0 for none.",
		Args:              exactly("NETWORK|CONTAINER..."),
		ValidArgsFunction: n.names(0, networkNames, containerNames),
	}
	formatFlag(cmd, &format, "", `"json", or a Go template such as {{.MAC}}`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := inspector(format)
		if err != nil {
			return err
		}
		return n.within(cmd, func(ctx context.Context, c *api.Client) error {
			return inspectEach(cmd.OutOrStdout(), write, args, func(ref string) ([]any, error) { return lookup(ctx, c, ref) })
		})
	}
	return cmd
}

// lookup finds networks by name or id, else the interfaces of a container.
func lookup(ctx context.Context, c *api.Client, ref string) ([]any, error) {
	n, err := c.Network(ctx, ref)
	if err == nil {
		return []any{n}, nil
	}
	if !errdefs.IsNotFound(err) {
		return nil, err
	}
	es, err := interfaces(ctx, c, ref)
	var out []any
	for _, e := range es {
		out = append(out, e)
	}
	return out, err
}

// interfaces are the endpoints that a reference means: one endpoint by its id,
// or all of a container.
func interfaces(ctx context.Context, c *api.Client, ref string) ([]api.Endpoint, error) {
	all, err := c.Endpoints(ctx)
	if err != nil {
		return nil, err
	}
	var named, begun []api.Endpoint
	for _, e := range all {
		switch {
		case ref != "" && (ref == e.Name || ref == e.Container || ref == e.ID):
			named = append(named, e)
		case sameRef(ref, "", e.Container), sameRef(ref, "", e.ID):
			begun = append(begun, e)
		}
	}
	if named != nil {
		return named, nil
	}
	for _, e := range begun {
		if e.Container != begun[0].Container {
			return nil, hinted(failure(errdefs.ErrInvalidArgument, "%s is the beginning of several ids", ref), "give more of it")
		}
	}
	if begun == nil {
		return nil, hinted(failure(errdefs.ErrNotFound, "no network and no container of mosbridge is called %s", ref),
			"docker mos net ls and docker mos net ps list them")
	}
	return begun, nil
}

// formatFlag adds the flag --format of a command that shows objects, not lists.
func formatFlag(cmd *cobra.Command, format *string, usual, help string, words ...string) {
	cmd.Flags().StringVarP(format, "format", "f", usual, help)
	complete(cmd, "format", append(words, "json")...)
}

// inspectEach shows all of what was asked for that is found, and joins the errors
// of the rest.
func inspectEach(w io.Writer, write func(io.Writer, []any) error, refs []string, find func(string) ([]any, error)) error {
	var objects []any
	err := each(refs, func(ref string) error {
		found, err := find(ref)
		objects = append(objects, found...)
		return err
	})
	if objects == nil {
		return err
	}
	return errors.Join(write(w, objects), err)
}

// inspector returns what prints objects in a format, as docker inspect does: ""
// is JSON for people, "json" is JSON in one line.
func inspector(format string) (func(io.Writer, []any) error, error) {
	if format == "" || format == "json" {
		return func(w io.Writer, objects []any) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			if format == "" {
				enc.SetIndent("", "    ")
			}
			return enc.Encode(objects)
		}, nil
	}
	t, err := templates.New("format").Option("missingkey=error").Parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format))
	if err != nil {
		return nil, badFormat(err)
	}
	return func(w io.Writer, objects []any) error {
		for _, o := range objects {
			if err := fill(w, t, o); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// fill prints a template with an object's fields: by their names in Go, which are
// like those of docker inspect, or else by those in the JSON.
func fill(w io.Writer, t *template.Template, o any) error {
	var b bytes.Buffer
	wrong := t.Execute(&b, o)
	if wrong != nil {
		fields, err := asMap(o)
		if err != nil {
			return err
		}
		b.Reset()
		err = t.Execute(&b, fields)
		if m := noGoField.FindStringSubmatch(wrong.Error()); err != nil && (m == nil || !has(fields, m[1])) {
			err = wrong // the trouble is another, or this field has neither name
		}
		if err != nil {
			return hinted(badFormat(err), "without --format all fields are shown")
		}
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

func has(fields map[string]any, name string) bool {
	_, ok := fields[name]
	return ok
}

// asMap is an object as its JSON's reader sees it, with "" for what the JSON
// leaves out.
func asMap(o any) (map[string]any, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	m := map[string]any{}
	if err := dec.Decode(&m); err != nil {
		return nil, err
	}
	is := reflect.TypeOf(o)
	if is.Kind() == reflect.Pointer {
		is = is.Elem()
	}
	for _, f := range reflect.VisibleFields(is) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if _, ok := m[name]; !ok && name != "" {
			m[name] = ""
		}
	}
	return m, nil
}
