package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mosdocker/mosdocker/agent"
	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink/prom"
	"github.com/mosdocker/mosdocker/agent/top"
	"github.com/mosdocker/mosdocker/hostsrv"
	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/hostsrv/cgpersist"
	"github.com/mosdocker/mosdocker/hostsrv/cluster"
	"github.com/mosdocker/mosdocker/internal/adminapi"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	volume "github.com/mosdocker/mosdocker/lvmvolume/api"
)

// server is the agent with its servers.
type server struct {
	cfg     Config
	log     *logx.Logger
	agent   *agent.Agent
	sets    *hostsrv.Supervisor
	cgroups *cgpersist.Keeper
	disk    *hostsrv.Disk
	cluster *cluster.Host // nil where no sets are kept
	metrics atomic.Pointer[prom.Text]
	sinks   *running
}

func newDaemon(cfg Config, log *logx.Logger) (*server, error) {
	err := os.MkdirAll(filepath.Dir(cfg.Sets.State), 0o755) //nolint:gosec // the sockets lie there, which have their own rights
	if err != nil {
		return nil, err
	}
	d := &server{cfg: cfg, log: log, sinks: new(running), sets: newSupervisor(cfg.Sets, log.Logger)}
	if d.agent, err = agent.Open(cfg.Agent, log.Logger); err != nil {
		return nil, err
	}
	d.agent.OnKill = d.sets.Killed
	d.sets.Shim = func(ctx context.Context, id string) error {
		socket, err := cfg.Agent.Engine().Shim(id)
		if err != nil {
			return err
		}
		return hostsrv.AskShim(ctx, socket, id)
	}
	d.sets.EndShim = hostsrv.EndShim
	d.disk = hostsrv.NewDisk(hostsrv.DiskConfig{
		Root: cfg.Agent.Engine().Root, Every: cfg.Agent.SlowInterval.Duration, Images: imagesOf(cfg.Sets.Engine),
		Volumes: volume.New(""), Told: func(r api.Disk) { d.agent.Tell(values(r), spaces(r)) },
	})
	d.cgroups, err = cgpersist.Open(cgpersist.Config{
		Records: filepath.Join(cfg.StateDir, "cgroup"), State: filepath.Join(cfg.Sets.State, "cgroup.json"), Engine: cfg.Agent.Engine(),
		Volumes: volume.New("").Volumes,
		Note:    func(ctx context.Context, set, text string) { d.sets.Note(ctx, "cgroup", set, text) },
	}, log.Logger)
	if err != nil {
		return nil, errors.Join(err, d.agent.Close())
	}
	if cfg.Sets.Keep != "none" {
		if d.cluster, err = newHost(cfg, d.sets, log.Logger); err != nil {
			return nil, errors.Join(err, d.close())
		}
		d.cluster.Usage(top.NewOf(d.view, metric.Host|metric.Set).Latest)
	}
	return d, nil
}

// setSinks makes what is measured go where the configuration says. No sample is
// lost between the old sinks and the new ones. Faults of the configuration leave
// the old ones.
func (d *server) setSinks(ctx context.Context, cfg Config) error {
	t, err := prom.New(cfg.Prometheus)
	list, berr := backends(&cfg)
	if err := errors.Join(err, berr); err != nil {
		return err
	}
	d.metrics.Store(t)
	return d.agent.SwapSinks(func() ([]agent.Sink, error) {
		d.sinks.end()
		d.sinks = new(running)
		return d.sinks.start(context.WithoutCancel(ctx), list, cfg.StateDir, d.log.Logger)
	})
}

// run serves and measures until ctx ends.
func (d *server) run(ctx context.Context, reload <-chan os.Signal, load func() (Config, error)) error {
	var work sync.WaitGroup
	ctx, end := context.WithCancel(ctx)
	defer end()
	if err := d.setSinks(ctx, d.cfg); err != nil {
		return errors.Join(err, d.close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		d.metrics.Load().Handler(d.view).ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /metrics/cgroup", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_ = d.cgroups.WriteMetrics(w) // who scrapes may be gone
	})
	d.sets.Register(mux)
	d.disk.Register(mux)
	top.New(d.view).Register(mux)
	admin := http.NewServeMux() // what changes things is on the unix socket only
	admin.Handle("/", mux)
	d.cgroups.Register(admin)
	if d.cluster != nil {
		d.cluster.Register(mux, admin)
	}
	srv := pluginsrv.New(pluginsrv.Config{Log: d.log.Logger})
	admin.Handle("/v1/loglevel", logLevel(srv, d.log))
	tcp, err := d.listen(ctx, mux)
	if err != nil {
		return errors.Join(err, d.close())
	}
	work.Go(func() { d.agent.Run(ctx) })
	work.Go(func() { d.sets.Run(ctx) })
	work.Go(func() { d.disk.Run(ctx) })
	if d.cluster != nil {
		work.Go(func() { d.cluster.Run(ctx) })
	}
	work.Go(func() { d.cgroups.Run(ctx) })
	work.Go(func() { d.reload(ctx, reload, load) })
	err = srv.Run(ctx, pluginsrv.Socket{Name: "mosd", Path: d.cfg.Socket, Handler: admin})
	end()
	work.Wait()
	return errors.Join(err, tcp(), d.close())
}

func (d *server) close() error {
	d.sinks.end()
	return errors.Join(d.cgroups.Close(), d.agent.Close())
}

func (d *server) view(f func(*metric.Sample)) { d.agent.View(f) }

// httpLimit is how long a scrape over TCP may take.
const httpLimit = 10 * time.Second

// listen serves the address of the configuration, if there is one, until stop is called.
func (d *server) listen(ctx context.Context, h http.Handler) (stop func() error, err error) {
	if d.cfg.Listen == "" {
		return func() error { return nil }, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.cfg.Listen)
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: httpLimit, ReadTimeout: httpLimit, WriteTimeout: httpLimit, IdleTimeout: 5 * time.Minute}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	d.log.InfoContext(ctx, "serving", "address", l.Addr().String())
	return func() error {
		err := srv.Close()
		if serr := <-done; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
		return err
	}, nil
}

// reload takes over what a SIGHUP finds changed in the configuration: sinks and the
// log's level. A faulty one changes nothing.
func (d *server) reload(ctx context.Context, signals <-chan os.Signal, load func() (Config, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		cfg, err := load()
		var late []string
		if err == nil {
			late = cfg.late(&d.cfg)
			cfg.Agent = d.cfg.Agent // which sinks heed
			err = errors.Join(d.setSinks(ctx, cfg), d.log.SetLevel(cfg.Log.Level))
		}
		if err != nil {
			d.log.ErrorContext(ctx, "configuration is not taken over", "err", err)
			continue
		}
		d.log.InfoContext(ctx, "configuration read again")
		if len(late) > 0 {
			d.log.WarnContext(ctx, "these changes of the configuration count from the next start of mosd on", "keys", late)
		}
	}
}

// logLevel tells and changes what is logged.
func logLevel(srv *pluginsrv.Server, log *logx.Logger) http.Handler {
	a := srv.NewAdmin()
	now := func() adminapi.LogLevel { return adminapi.LogLevel{Level: log.Level()} }
	pluginsrv.HandleAdmin(a, "GET /v1/loglevel", func(context.Context, func(string) string, pluginsrv.None) (adminapi.LogLevel, error) {
		return now(), nil
	})
	pluginsrv.HandleAdmin(a, "PUT /v1/loglevel", func(_ context.Context, _ func(string) string, l adminapi.LogLevel) (adminapi.LogLevel, error) {
		if err := log.SetLevel(l.Level); err != nil {
			return now(), fault.Invalid("%w", err)
		}
		return now(), nil
	})
	return a
}
