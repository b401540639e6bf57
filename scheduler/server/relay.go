package server

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/session"
)

// atLeader has the process that leads asked in a caller's name, for what only that one has, as
// the links to hosts. That process judges the caller again. The error is do's, or of class
// Unavailable where nobody leads, this process does, or who leads is not reached.
func (s *Server) atLeader(ctx context.Context, by Caller, do func(*client.Client) error) error {
	leader, _, err := s.cfg.Store.Leader(ctx)
	switch {
	case errdefs.IsNotFound(err):
		return fault.Unavailable("no mos-scheduler leads at the moment: try again")
	case err != nil:
		return err
	case leader == s.cfg.Name:
		return fault.Unavailable("it is not linked to mos-scheduler %s, which leads", leader)
	}
	members, _, err := s.cfg.Store.Members(ctx)
	if err != nil {
		return err
	}
	err = fault.Unavailable("mos-scheduler %s leads, and did not tell where others reach it (listen and names in its configuration): ask that one", leader)
	if s.cfg.As == nil {
		return err
	}
	proof, bad := s.cfg.As(by.Role, by.certified())
	if bad != nil {
		return bad
	}
	for _, m := range members {
		for _, endpoint := range m.Endpoints {
			if m.Name != leader {
				break
			}
			var at *client.Client
			if at, err = client.New(endpoint, client.Options{TLS: proof, Via: s.cfg.Name}); err == nil {
				err = do(at)
				at.Close()
			}
			if !undialed(err) {
				return err
			}
		}
	}
	return err
}

// undialed says whether nothing was sent: what may have been is not sent again, since a command
// may run already.
func undialed(err error) bool {
	op, is := errors.AsType[*net.OpError](err)
	return is && op.Op == "dial"
}

// certified is the name that a certificate of the caller has.
func (c Caller) certified() string {
	if c.Role == api.Tenant {
		return c.Tenant
	}
	return c.Name
}

// reach has the host of a set come for a session: over its link to this process, else over that
// to the one that leads.
func (s *Server) reach(ctx context.Context, c *call, via string, set *api.SetInstance, in *session.Request) (rw io.ReadWriteCloser, done func(), err error) {
	host := set.Spec.Host
	if via != "" || s.cfg.Sessions.Linked(host) {
		return s.cfg.Sessions.Open(ctx, host, c.user(), session.Offer{Set: set.Name, UID: set.UID, Request: *in})
	}
	err = s.atLeader(ctx, c.Caller, func(at *client.Client) error {
		rw, err = at.Upgrade(ctx, set.Name, *in)
		return err
	})
	if err != nil {
		return nil, nil, fault.Unavailable("host %s is not reached (docker set host ls says whether it is away): %w", host, err)
	}
	return rw, func() {}, nil
}
