package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/ca"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
)

// parse reads the flags of a command, and what else stands there.
func parse(fs *flag.FlagSet, help string, args []string, out io.Writer) ([]string, error) {
	fs.SetOutput(out)
	fs.Usage = func() {
		_, _ = fmt.Fprint(fs.Output(), help)
		fs.PrintDefaults()
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil, config.ErrDone
	case err != nil:
		return nil, fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	return fs.Args(), nil
}

// oneFile is the only argument of a command.
func oneFile(args []string, command string) (string, error) {
	if len(args) != 1 {
		return "", fmt.Errorf("%w: mos-scheduler %s takes the name of one file", daemon.ErrConfig, command)
	}
	return filepath.Abs(args[0])
}

// withFile are the arguments of the daemon where a command names a configuration file.
func withFile(path string) []string {
	if path == "" {
		return nil
	}
	return []string{"-config", path}
}

// stateFlags are those of commands that work on the state; what they give loads its configuration.
func stateFlags(fs *flag.FlagSet) func(env []string) (Config, *logx.Logger, error) {
	conf := fs.String("config", "", "configuration file of mos-scheduler")
	data := fs.String("data", "", "folder of the state, instead of the configuration's")
	return func(env []string) (Config, *logx.Logger, error) {
		cfg, log, err := load(withFile(*conf), env, fs.Output())
		if *data != "" {
			cfg.Data = *data
		}
		return cfg, log, err
	}
}

const backupHelp = `mos-scheduler backup FILE writes all state into a new file, whole or not at all. The
scheduler may run meanwhile, unless it is the -last one.

`

func backup(ctx context.Context, args, env []string, out io.Writer) error {
	fs := flag.NewFlagSet("mos-scheduler backup", flag.ContinueOnError)
	configured := stateFlags(fs)
	last := fs.Bool("last", false, "put the etcd of this folder away after it, for a move to an etcd elsewhere")
	args, err := parse(fs, backupHelp, args, out)
	if err != nil {
		return err
	}
	path, err := oneFile(args, "backup")
	if err != nil {
		return err
	}
	cfg, log, err := configured(env)
	if err != nil {
		return err
	}
	if *last && len(cfg.Etcd) > 0 {
		return fmt.Errorf("%w: -last is for the etcd in the scheduler's process, and etcd is elsewhere", daemon.ErrConfig)
	}
	get := reach
	if *last { // what is written after it would be lost, so nobody else may have it
		get = own
	}
	s, err := get(ctx, cfg, log)
	if err != nil {
		return err
	}
	b, err := s.Backup(ctx, path)
	if err = errors.Join(err, s.close()); err != nil {
		return err
	}
	if *last {
		if err := os.Rename(embedded(cfg, log).Dir, moved(cfg)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "%s: %d bytes, SHA-256 %s\n", b.Path, b.Bytes, b.SHA256)
	return err
}

// reach opens the state, whether the daemon runs or not.
func reach(ctx context.Context, cfg Config, log *logx.Logger) (*store, error) {
	if len(cfg.Etcd) > 0 {
		return open(ctx, cfg, log)
	}
	s, err := beside(ctx, cfg)
	if errdefs.IsUnavailable(err) { // it does not run
		return own(ctx, cfg, log)
	}
	return s, err
}

// own opens the state of a daemon that does not run.
func own(ctx context.Context, cfg Config, log *logx.Logger) (*store, error) {
	if _, err := os.Stat(embedded(cfg, log).Dir); err != nil {
		return nil, fault.NotFound("there is no state in %s: -data names another folder", cfg.Data)
	}
	return open(ctx, cfg, log)
}

// beside reaches the etcd of a daemon that runs. The error is of class Unavailable if none
// does.
func beside(ctx context.Context, cfg Config) (*store, error) {
	ctx, cancel := context.WithTimeout(ctx, besideLimit)
	defer cancel()
	return dial(ctx, state.Remote{Endpoints: []string{"unix://" + filepath.Join(cfg.Data, "etcd", "client.sock")}}, cfg.Name)
}

const restoreHelp = `mos-scheduler restore FILE makes the state of a backup that of this process's etcd. The
scheduler must not run, and its state must not be there: move it away.

mos-scheduler restore -out FOLDER -peers NAME=https://HOST:PORT,... FILE makes a data
directory for each of several servers of etcd, FOLDER/NAME, to be moved to its host and
started there with --name NAME and this --listen-peer-urls. All are of one restore.

`

func restore(ctx context.Context, args, env []string, out io.Writer) error {
	fs := flag.NewFlagSet("mos-scheduler restore", flag.ContinueOnError)
	configured := stateFlags(fs)
	peers := fs.String("peers", "", "servers of an etcd elsewhere, and where they reach each other")
	folder := fs.String("out", "", "folder for their data directories")
	args, err := parse(fs, restoreHelp, args, out)
	if err != nil {
		return err
	}
	path, err := oneFile(args, "restore")
	if err != nil {
		return err
	}
	cfg, log, err := configured(env)
	if err != nil {
		return err
	}
	if *peers != "" || *folder != "" {
		return restoreElsewhere(log, *peers, *folder, path, out)
	}
	if len(cfg.Etcd) > 0 {
		return fmt.Errorf("%w: etcd is elsewhere: make directories for its servers by -out and -peers", daemon.ErrConfig)
	}
	c := embedded(cfg, log)
	if err := embed.Restore(c, path); err != nil {
		return err
	}
	log.DebugContext(ctx, "restored", "into", c.Dir)
	_, err = fmt.Fprintf(out, "%s: restored from %s\n", c.Dir, path)
	return err
}

func restoreElsewhere(log *logx.Logger, peers, folder, path string, out io.Writer) error {
	if peers == "" || folder == "" {
		return fmt.Errorf("%w: -out and -peers go together", daemon.ErrConfig)
	}
	all := map[string]string{}
	for one := range strings.SplitSeq(peers, ",") {
		name, at, ok := strings.Cut(one, "=")
		if _, twice := all[name]; twice || !ok {
			return fmt.Errorf("%w: -peers: want NAME=https://HOST:PORT once for each server, not %q", daemon.ErrConfig, one)
		}
		all[name] = at
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := embed.RestoreCluster(log.Logger, folder, all, path); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if _, err := fmt.Fprintf(out, "%s: restored from %s\n", filepath.Join(folder, name), path); err != nil {
			return err
		}
	}
	return nil
}

const revokeHelp = `mos-scheduler cert revoke NAME -role ROLE   lets certificates of NAME in no more that were made until now
mos-scheduler cert revoke -serial SERIAL    lets that one in no more
mos-scheduler cert revoked                  lists what is revoked

Requests and links that are open end. A host whose certificate is revoked runs on what it has, and
joins again with a token.

`

// revoke asks the scheduler that runs.
func revoke(ctx context.Context, verb string, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("mos-scheduler cert "+verb, flag.ContinueOnError)
	socket := fs.String("socket", client.DefaultSocket, "unix socket of the scheduler")
	role := fs.String("role", "", "role of the owner: admin, operator, tenant, host or read-only")
	serial := fs.String("serial", "", "serial number in hex, as openssl x509 -serial writes it")
	var name string
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	rest, err := parse(fs, revokeHelp, args, out)
	if err != nil {
		return err
	}
	if len(rest) > 0 || verb == "revoke" && (name == "") != (*serial != "") || verb == "revoked" && name+*serial != "" {
		return fmt.Errorf("%w: want mos-scheduler cert revoke NAME -role ROLE, revoke -serial SERIAL, or revoked", daemon.ErrConfig)
	}
	c, err := client.New(*socket, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	if verb == "revoked" {
		page, err := client.List[api.Revocation](ctx, c, client.Filter{})
		for _, r := range page.Items {
			if _, err := fmt.Fprintf(out, "%s\t%s\n", r.Name, r.Created.Format(time.RFC3339)); err != nil {
				return err
			}
		}
		return err
	}
	r := api.NewRevocation(*serial, api.Role(*role), name)
	_, err = client.Create(ctx, c, r, client.Change{})
	if errdefs.IsAlreadyExists(err) && *serial == "" { // an owner's certificates may have been made since
		if _, err = client.Delete[api.Revocation](ctx, c, r.Name); err == nil {
			_, err = client.Create(ctx, c, r, client.Change{})
		}
	}
	if err == nil {
		_, err = fmt.Fprintln(out, r.Name)
	}
	return err
}

const certHelp = `mos-scheduler cert NAME -role ROLE -out FOLDER   makes a key and a certificate for a user:
key.pem, cert.pem, and ca.pem, which knows the API. It is valid for -ttl, unless it is revoked.

mos-scheduler cert revoke   revokes certificates; -h tells more

`

func certificate(ctx context.Context, args, env []string, out io.Writer) error {
	if len(args) > 0 && (args[0] == "revoke" || args[0] == "revoked") {
		return revoke(ctx, args[0], args[1:], out)
	}
	fs := flag.NewFlagSet("mos-scheduler cert", flag.ContinueOnError)
	configured := stateFlags(fs)
	role := fs.String("role", "", "what its owner may do: admin, operator, tenant or read-only")
	folder := fs.String("out", ".", "folder for the files, made if it is not there")
	ttl := fs.Duration("ttl", 90*24*time.Hour, "for how long")
	var name string
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	rest, err := parse(fs, certHelp, args, out)
	if err != nil {
		return err
	}
	if name == "" || len(rest) > 0 {
		return fmt.Errorf("%w: want mos-scheduler cert NAME -role ROLE -out FOLDER", daemon.ErrConfig)
	}
	cfg, log, err := configured(env)
	if err != nil {
		return err
	}
	s, err := reach(ctx, cfg, log)
	if err != nil {
		return err
	}
	authority, err := ca.Open(ctx, s.Store, time.Now)
	if err = errors.Join(err, s.close()); err != nil {
		return err
	}
	cert, key, err := authority.Issue(api.Role(*role), name, *ttl)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*folder, 0o700); err != nil {
		return err
	}
	for file, data := range map[string][]byte{"key.pem": key, "cert.pem": cert, "ca.pem": authority.PEM()} {
		if err := os.WriteFile(filepath.Join(*folder, file), data, 0o600); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "%s: key.pem, cert.pem and ca.pem for mos://%s/%s\n", *folder, *role, name)
	return err
}

const tokenHelp = `mos-scheduler token create NAME -role ROLE   makes a token and prints its secret
mos-scheduler token rm NAME                  takes one away
mos-scheduler token ls                       lists them

Roles are admin, operator, tenant, host and read-only.

`

func token(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("mos-scheduler token", flag.ContinueOnError)
	socket := fs.String("socket", client.DefaultSocket, "unix socket of the scheduler")
	role := fs.String("role", "", "what its bearer may do")
	tenant := fs.String("tenant", "", "whose services, for role tenant")
	ttl := fs.String("ttl", "", "for how long, such as 24h; for ever by default")
	if len(args) == 0 {
		args = []string{"-h"}
	}
	verb, rest := args[0], args[1:]
	var name string
	if len(rest) > 0 && rest[0] != "" && rest[0][0] != '-' { // flags may follow it
		name, rest = rest[0], rest[1:]
	}
	if verb == "-h" || verb == "--help" || verb == "-help" {
		rest = []string{"-h"}
	}
	rest, err := parse(fs, tokenHelp, rest, out)
	if err != nil {
		return err
	}
	c, err := client.New(*socket, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	switch {
	case verb == "ls" && name == "" && len(rest) == 0:
		return tokens(ctx, c, out)
	case name == "" || len(rest) > 0 || verb == "create" && *role == "":
	case verb == "rm":
		return c.DeleteToken(ctx, name)
	case verb == "create":
		t, err := c.CreateToken(ctx, api.TokenRequest{Name: name, Role: api.Role(*role), Tenant: *tenant, TTL: *ttl})
		if err == nil {
			_, err = fmt.Fprintln(out, t.Secret)
		}
		return err
	}
	return fmt.Errorf("%w: want mos-scheduler token create NAME -role ROLE, rm NAME, or ls", daemon.ErrConfig)
}

func tokens(ctx context.Context, c *client.Client, out io.Writer) error {
	page, err := client.List[api.Token](ctx, c, client.Filter{})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tROLE\tTENANT\tUNTIL") // Flush tells of errors
	for _, t := range page.Items {
		until := "for ever"
		if !t.Spec.Expires.IsZero() {
			until = t.Spec.Expires.Format("2006-01-02T15:04:05Z")
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Name, t.Spec.Role, cmp.Or(t.Spec.Tenant, "-"), until) // as above
	}
	return w.Flush()
}
