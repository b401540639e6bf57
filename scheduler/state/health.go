package state

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Health is that of etcd.
type Health struct {
	Servers []Server
	// Alarms, in words. With one of space etcd takes no writes.
	Alarms []string
}

// Server is one member of etcd.
type Server struct {
	Name   string
	Err    error // it gave no answer; then the rest is zero
	Leader bool  // of etcd
	// Bytes of the database: allocated, in use, and how many it may have.
	Size, InUse, Quota int64
	Version            string
}

// Health looks at etcd. Its error is of class Unavailable if no quorum answers.
func (s *Store) Health(ctx context.Context) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	members, err := s.etcd.MemberList(ctx)
	if err != nil {
		return Health{}, explain(err, "list the members of etcd")
	}
	alarms, err := s.etcd.AlarmList(ctx)
	if err != nil {
		return Health{}, explain(err, "list the alarms of etcd")
	}
	var h Health
	names := make(map[uint64]string, len(members.Members))
	for _, m := range members.Members {
		names[m.ID] = m.Name
		h.Servers = append(h.Servers, s.server(ctx, m))
	}
	for _, a := range alarms.Alarms {
		h.Alarms = append(h.Alarms, alarm(a.Alarm, names[a.MemberID]))
	}
	return h, nil
}

func (s *Store) server(ctx context.Context, m *etcdserverpb.Member) Server {
	server := Server{Name: m.Name}
	if len(m.ClientURLs) == 0 {
		server.Err = fmt.Errorf("etcd member %x has not started yet", m.ID)
		return server
	}
	r, err := s.etcd.Status(ctx, m.ClientURLs[0])
	if err != nil {
		server.Err = explain(err, "ask %s", m.Name)
		return server
	}
	server.Leader = r.Leader == m.ID
	server.Size, server.InUse, server.Quota, server.Version = r.DbSize, r.DbSizeInUse, r.DbSizeQuota, r.Version
	return server
}

func alarm(a etcdserverpb.AlarmType, member string) string {
	switch a {
	case etcdserverpb.AlarmType_NOSPACE:
		return fmt.Sprintf("space: the database of %s reached its quota, and no write is taken: reclaim space, or raise the quota", member)
	case etcdserverpb.AlarmType_CORRUPT:
		return fmt.Sprintf("corruption: the database of %s differs from the others: replace this member, or restore a backup", member)
	case etcdserverpb.AlarmType_NONE:
	}
	return fmt.Sprintf("alarm %s of %s", a, member)
}

// Reclaim forgets the history up to now, gives what it took back to the file system, one
// server after the other, and ends the alarm of space. Each server answers nothing while
// its turn lasts, which is seconds for gigabytes. Watches that are behind get a
// [GoneError].
func (s *Store) Reclaim(ctx context.Context) error {
	now, err := s.etcd.Get(ctx, s.keys.schema(), clientv3.WithKeysOnly())
	if err != nil {
		return explain(err, "look at the store's revision")
	}
	// Physical: what follows finds its pages free.
	_, err = s.etcd.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted) {
		return explain(err, "compact etcd at revision %d", now.Header.Revision)
	}
	members, err := s.etcd.MemberList(ctx)
	if err != nil {
		return explain(err, "list the members of etcd")
	}
	var errs []error
	for _, m := range members.Members {
		if len(m.ClientURLs) == 0 {
			continue
		}
		if _, err := s.etcd.Defragment(ctx, m.ClientURLs[0]); err != nil {
			errs = append(errs, explain(err, "defragment %s", m.Name))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...) // the alarm stays: it would come back
	}
	return s.disarm(ctx)
}

// disarm ends alarms of space. The server raises them again if they are right.
func (s *Store) disarm(ctx context.Context) error {
	r, err := s.etcd.AlarmList(ctx)
	if err != nil {
		return explain(err, "list the alarms of etcd")
	}
	for _, a := range r.Alarms {
		if a.Alarm != etcdserverpb.AlarmType_NOSPACE {
			continue
		}
		if _, err := s.etcd.AlarmDisarm(ctx, (*clientv3.AlarmMember)(a)); err != nil {
			return explain(err, "end the alarm of space")
		}
	}
	return nil
}
