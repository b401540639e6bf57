package mosbridge

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mosdocker/mosdocker/internal/engine"
	"github.com/mosdocker/mosdocker/internal/keylock"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/store"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/firewall"
	"github.com/mosdocker/mosdocker/mosbridge/hostport"
	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Driver is the network and IPAM driver of one host. Its calls may run at
// once; one repair runs alone.
type Driver struct {
	cfg     Config
	log     *logx.Logger
	db      *store.DB
	rec     *record
	fab     *fabric
	ports   *hostport.Allocator
	addrs   *ipam.Allocator
	engine  *engine.Engine
	metrics *metrics
	started time.Time

	nudge      chan struct{}
	waiting    atomic.Bool   // Open vSwitch may wait for flows since it started
	busy       gate          // calls go in together, a repair alone
	creating   keylock.Locks // by bridge: creating and deleting networks
	endpoints  keylock.Locks // by endpoint id
	publishing sync.Mutex    // guards who holds published ports
	giving     sync.Mutex    // guards given and what is kept of it
	given      api.Cluster   // what a cluster gave this host of its addresses

	mu      sync.Mutex // guards all below
	repairs repairs
	version string               // of the engine, when it answered
	missing map[string]time.Time // what Docker does not know, since when
}

// Open reads the record and makes a driver of it. It needs neither Docker nor
// Open vSwitch to be there, and changes nothing on the host; [Driver.Run] does.
func Open(cfg Config, log *logx.Logger) (*Driver, error) {
	db, err := store.Open(filepath.Join(cfg.StateDir, "mosbridge.db"), schema, nil)
	if err != nil {
		return nil, err
	}
	d, err := open(cfg, log, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

func open(cfg Config, log *logx.Logger, db *store.DB) (*Driver, error) {
	rec, err := openRecord(db)
	if err != nil {
		return nil, err
	}
	addrs, err := ipam.New(ipam.Config{Store: newLeaseStore(db), Ranges: cfg.ranges()})
	if err != nil {
		return nil, err
	}
	sw, err := ovs.New(ovs.Config{Runner: xexec.Host{}, Log: log.Logger, RunDir: cfg.OVSRunDir})
	if err != nil {
		return nil, err
	}
	eng, err := engine.Open(cfg.DockerHost)
	if err != nil {
		return nil, errors.Join(err, sw.Close())
	}
	fw := firewall.New(firewall.Config{Runner: xexec.Host{}, Log: log.Logger, IPTables: cfg.IPTables, IP6Tables: "ip6" + strings.TrimPrefix(cfg.IPTables, "ip")})
	d := &Driver{
		cfg: cfg, log: log, db: db, rec: rec, addrs: addrs, engine: eng,
		fab:     newFabric(sw, fw, rec, ovs.Datapath(datapaths()[cfg.Datapath]), log.Logger),
		started: time.Now(),
		nudge:   make(chan struct{}, 1),
		missing: map[string]time.Time{},
	}
	d.ports = hostport.New(hostport.Config{Describe: d.describe})
	d.metrics = newMetrics(d)
	d.waiting.Store(true)
	d.restorePorts()
	if err := d.loadCluster(); err != nil {
		d.ports.Close()
		return nil, errors.Join(err, sw.Close())
	}
	return d, nil
}

// restorePorts takes up the published ports of before the restart.
func (d *Driver) restorePorts() {
	var claims []hostport.Claim
	for _, e := range d.rec.allEndpoints() {
		if len(e.Bound) > 0 {
			claims = append(claims, hostport.Claim{Owner: string(e.Endpoint.ID), Bindings: e.Bound})
		}
	}
	if err := d.ports.Restore(claims); err != nil {
		d.log.Warn("published ports are served but not reserved", "err", err)
	}
}

// describe names the owner of a published port for people.
func (d *Driver) describe(owner string) string {
	e, ok := d.rec.endpoint(spec.EndpointID(owner))
	if !ok {
		return "endpoint " + spec.EndpointID(owner).Short()
	}
	n, _ := d.rec.network(e.Endpoint.Network)
	return e.title() + " on network " + n.title()
}

// Close gives up the published ports' sockets, the connections and the record.
// Containers go on.
func (d *Driver) Close() error {
	d.ports.Close()
	return errors.Join(d.fab.ovs.Close(), d.db.Close())
}
