package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/mosdocker/mosdocker/hostsrv"
	"github.com/mosdocker/mosdocker/hostsrv/cluster"
	"github.com/mosdocker/mosdocker/hostsrv/names"
	volume "github.com/mosdocker/mosdocker/lvmvolume/api"
	bridge "github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/local"
)

// newSupervisor keeps the sets of the Engine that the configuration names.
func newSupervisor(cfg hostsrv.Config, log *slog.Logger) *hostsrv.Supervisor {
	var e *docker.Engine
	open := func(ctx context.Context) (*setmgr.Manager, hostsrv.Engine, error) {
		if e == nil {
			var err error
			if e, err = docker.Open(cfg.Engine); err != nil {
				return nil, nil, err
			}
		}
		m, err := local.Manager(ctx, e)
		if err != nil {
			return nil, nil, err
		}
		if !e.Local {
			log.WarnContext(ctx, "the Engine is on another host or apart from this process: members that are cut off from their set's network are not seen")
		}
		return m, e, nil
	}
	return hostsrv.New(cfg, open, log)
}

// newHost has the sets of the cluster kept, that the configuration names or that the host
// joined.
func newHost(cfg Config, sets *hostsrv.Supervisor, log *slog.Logger) (*cluster.Host, error) {
	var h *cluster.Host
	open := sync.OnceValues(func() (*docker.Engine, error) { return docker.Open(cfg.Sets.Engine) })
	facts := cluster.FactsOf(open, volume.New(""), func() map[string]bool { return h.Volumes() }, sets.Own)
	engine := func() (names.Engine, error) { return open() }
	h, err := cluster.Open(cfg.Cluster, sets, facts, engine, log.With("component", "cluster"))
	if err == nil {
		h.Sessions(open)
		h.Holds(cluster.HoldsOf(open, log))
		h.Guard(bridge.New(""))
	}
	return h, err
}
