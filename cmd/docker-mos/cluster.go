package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
)

// cluster has the commands that ask a scheduler.
type cluster struct {
	name string // as given by --cluster
	of   *sets
}

const (
	clusterEnv  = "MOS_CLUSTER"
	clusterFile = "mos-clusters.toml" // in docker's folder of configuration
)

// endpoint is a cluster as the user's file has it.
type endpoint struct {
	Endpoint  string `toml:"endpoint"`
	CA        string `toml:"ca"`
	Cert      string `toml:"cert"`
	Key       string `toml:"key"`
	TokenFile string `toml:"token_file"`
}

func clusterPath() string { return filepath.Join(config.Dir(), clusterFile) }

// clusters are those of the user's file.
func clusters() (map[string]endpoint, error) {
	data, err := os.ReadFile(clusterPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all map[string]endpoint
	d := toml.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
			return nil, failure(errdefs.ErrInvalidArgument, "%s: unknown keys:\n%s", clusterPath(), strict.String())
		}
		return nil, failure(errdefs.ErrInvalidArgument, "%s: %s", clusterPath(), err)
	}
	return all, nil
}

// endpoint is where the cluster of --cluster is asked.
func (c *cluster) endpoint() (endpoint, error) {
	name := cmp.Or(c.name, os.Getenv(clusterEnv))
	switch {
	case name == "":
		return endpoint{Endpoint: client.DefaultSocket}, nil
	case strings.HasPrefix(name, "/"), strings.Contains(name, "://"):
		return endpoint{Endpoint: name}, nil
	}
	all, err := clusters()
	if err != nil {
		return endpoint{}, err
	}
	e, ok := all[name]
	if !ok {
		return e, hinted(failure(errdefs.ErrNotFound, "no cluster is named %s in %s", name, clusterPath()),
			"a cluster has a table there: ["+name+"] with endpoint = 'https://HOST:PORT', and ca, cert, key or token_file",
			"--cluster takes a unix socket or an https:// address, too")
	}
	return e, nil
}

// client asks the cluster. MOS_TOKEN wins over a file.
func (c *cluster) client() (*client.Client, error) {
	e, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	token := os.Getenv("MOS_TOKEN")
	if token == "" && e.TokenFile != "" {
		data, err := os.ReadFile(e.TokenFile)
		if err != nil {
			return nil, err
		}
		token = strings.TrimSpace(string(data))
	}
	return client.New(e.Endpoint, client.Options{Token: token, CAFile: e.CA, CertFile: e.Cert, KeyFile: e.Key})
}

// ask runs f against the cluster until it ends or the user interrupts it, and says what to
// do about silence.
func (c *cluster) ask(cmd *cobra.Command, f func(context.Context, *client.Client) error) error {
	ctx, stop := c.of.signals.interruptible(cmd.Context())
	defer stop()
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	err = f(ctx, cl)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return failure(context.Cause(ctx), "%s was interrupted", cmd.CommandPath())
	}
	return clusterError(cl, err)
}

func clusterError(c *client.Client, err error) error {
	if _, answered := errors.AsType[*api.Problem](err); answered || err == nil {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hinted(failure(errdefs.ErrUnavailable, "no scheduler runs here: the socket %s is missing", strings.TrimPrefix(c.Endpoint(), "unix://")),
			"start it with systemctl start mos-scheduler, or with make up in the source tree", "--cluster or "+clusterEnv+" names another")
	case errors.Is(err, syscall.ECONNREFUSED):
		return hinted(err, "systemctl status mos-scheduler there says whether it runs, systemctl start mos-scheduler starts it; an address of --cluster needs listen in its configuration",
			"--cluster or "+clusterEnv+" names another")
	case errors.Is(err, fs.ErrPermission):
		return hinted(failure(errdefs.ErrUnavailable, "you may not open %s, the socket of the scheduler", strings.TrimPrefix(c.Endpoint(), "unix://")),
			"use sudo, or be in the socket's group")
	}
	return err
}

// eachOf runs f for one argument after the other and prints the names of those that went well.
func (c *cluster) eachOf(cmd *cobra.Command, args []string, f func(context.Context, *client.Client, string) error) error {
	return c.ask(cmd, func(ctx context.Context, cl *client.Client) error {
		return each(args, func(arg string) error {
			if err := f(ctx, cl, arg); err != nil {
				return err
			}
			name, _, _ := strings.Cut(arg, "=")
			_, err := cmd.OutOrStdout().Write([]byte(name + "\n"))
			return err
		})
	})
}

// offered are names for who pressed Tab.
func (c *cluster) offered(cmd *cobra.Command, args []string, ask func(context.Context, *client.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeLimit)
	defer cancel()
	cl, err := c.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer cl.Close()
	names, _ := ask(ctx, cl)
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) }), cobra.ShellCompDirectiveNoFileComp
}

func (c *cluster) services(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.offered(cmd, args, namesOf[api.Service])
}

func (c *cluster) hosts(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.offered(cmd, args, namesOf[api.Host])
}

// namesOf are the names of all resources of a kind.
func namesOf[T any, R interface {
	*T
	api.Resource
}](ctx context.Context, c *client.Client) ([]string, error) {
	page, err := client.List[T, R](ctx, c, client.Filter{})
	var names []string
	for _, r := range page.Items {
		names = append(names, R(r).Head().Name)
	}
	return names, err
}

// clusterFlag is the flag --cluster of docker set.
func (c *cluster) flag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&c.name, "cluster", "", "Ask the scheduler of this cluster: a name of "+clusterFile+" in docker's folder of configuration, a unix socket, or https://HOST:PORT; "+
		clusterEnv+" names it, too; by default that of this host ("+client.DefaultSocket+")")
	// The only error is a second registration.
	_ = cmd.RegisterFlagCompletionFunc("cluster", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		all, _ := clusters()
		var names []string
		for name := range all {
			names = append(names, name)
		}
		slices.Sort(names)
		return names, cobra.ShellCompDirectiveDefault
	})
}

// local refuses --cluster where a command is about one Engine.
func (c *cluster) local(cmd *cobra.Command, args []string) error {
	if c.name == "" || c.topOf(cmd, args) {
		return nil
	}
	for p := cmd; p != nil; p = p.Parent() {
		if p.Annotations[clusterWide] != "" {
			return nil
		}
	}
	return usage("%s works on the Engine of the current context: with --cluster take service, host, network, operation, quota, rebalance or explain, or top without a set", cmd.CommandPath())
}

// clusterWide marks commands that ask a scheduler.
const clusterWide = "mos.cluster"

func (c *cluster) group(name, short string) *cobra.Command {
	cmd := group(name, short)
	cmd.Annotations = map[string]string{clusterWide: "yes"}
	return cmd
}
