package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"

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
	cmd.Flags().StringVar(&format, "format", "json", `"json" or a Go template over the JSON's fields, such as {{.mac}}`)
	complete(cmd, "format", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := inspector(format)
		if err != nil {
			return err
		}
		return n.within(cmd, func(ctx context.Context, c *api.Client) error {
			objects := []any{}
			for _, ref := range args {
				found, err := lookup(ctx, c, ref)
				if err != nil {
					return err
				}
				objects = append(objects, found...)
			}
			return write(cmd.OutOrStdout(), objects)
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

// inspector returns what prints objects in a format.
func inspector(format string) (func(io.Writer, []any) error, error) {
	if format == "json" {
		return func(w io.Writer, objects []any) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "    ")
			return enc.Encode(objects)
		}, nil
	}
	t, err := templates.New("format").Option("missingkey=error").Parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format))
	if err != nil {
		return nil, usage("--format: %s", err)
	}
	return func(w io.Writer, objects []any) error {
		for _, o := range objects {
			fields, err := asMap(o)
			if err != nil {
				return err
			}
			if err := t.Execute(w, fields); err != nil {
				return usage("--format: %s", err)
			}
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		return nil
	}, nil
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
	for f := range reflect.TypeOf(o).Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if _, ok := m[name]; !ok {
			m[name] = ""
		}
	}
	return m, nil
}
