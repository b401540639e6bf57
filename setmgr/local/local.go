// Package local puts a set manager together for the Engine that a client reaches.
package local

import (
	"context"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/cgroup"
	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/infra"
)

// Manager is the set manager for e, which must answer. On another host than the
// Engine's it cannot cap sets, nor reach into their networks.
func Manager(ctx context.Context, e *docker.Engine) (*setmgr.Manager, error) {
	e.Local, e.Known = e.SharesHost(ctx), nil
	f, err := e.Facts(ctx)
	if err != nil {
		return nil, err
	}
	e.Known = &f
	m := &setmgr.Manager{Engine: e, EngineID: f.ID, Arch: e.Arch, Infra: infra.Image, InfraName: infra.Reference}
	if !e.Local {
		m.NoCap = "the Engine is on another host or apart from this process: docker set beside it caps the set"
		return m, nil
	}
	if m.NoCap = cgroup.CanCap(f); m.NoCap == "" {
		m.Cap, m.Dial = cgroup.Open(f), docker.Dial
	}
	return m, nil
}
