package lvmvolume

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mosdocker/mosdocker/internal/engine"
	"github.com/mosdocker/mosdocker/internal/keylock"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// Driver is the volume driver of one host. Its calls may run at once; those
// about one volume run in turn.
type Driver struct {
	cfg     Config
	log     *logx.Logger
	idx     *index
	lvm     *lvm.Client
	groups  *groups
	loops   *loops
	disk    disk
	fs      filesystem.FS
	engine  *engine.Engine
	metrics *metrics
	started time.Time

	names      keylock.Locks // by name: what is done to a volume
	looking    sync.Mutex    // one look at a time
	loadedOnce sync.Once
	nudge      chan struct{} // look soon
	sweepSoon  chan struct{} // a volume may be idle
	ripe       later         // records to write when there is time
	watch      watchdog
	engineSeen atomic.Bool   // see blind
	stall      time.Duration // that the sender of an import may stand still
	imports    sync.Map      // by their senders: what ends them
	long       sync.Map      // by name of volume: the work on its file system that may take hours, as an error
	importing  sync.Map      // names of volumes that are imported
	exporting  sync.Map      // names of volumes that are exported as they are, or titles of snapshots that are

	mu     sync.Mutex // guards all below
	events []event
	trial  map[string]io.Closer // loop devices of trial groups, by file
}

// Open makes a driver. It needs neither Docker nor LVM to be there, and changes
// nothing on the host; [Driver.Run] does.
func Open(cfg Config, log *logx.Logger) (*Driver, error) {
	run := xexec.Host{}
	return open(cfg, log, machine{run: run, disk: hostDisk{run}})
}

// machine is what a driver drives.
type machine struct {
	run  xexec.Runner
	disk disk
}

func open(cfg Config, log *logx.Logger, m machine) (*Driver, error) {
	c, err := lvm.New(lvm.Config{Runner: m.run, DevicesFile: cfg.DevicesFile, SystemDir: cfg.LVMDir, NoUdev: !cfg.Udev})
	if err != nil {
		return nil, err
	}
	eng, err := engine.Open(cfg.DockerHost)
	if err != nil {
		return nil, err
	}
	d := &Driver{
		cfg: cfg, log: log, idx: newIndex(), lvm: c, engine: eng,
		disk:      m.disk,
		fs:        filesystem.FS{Runner: m.run},
		started:   time.Now(),
		stall:     stallLimit,
		trial:     map[string]io.Closer{},
		nudge:     make(chan struct{}, 1),
		sweepSoon: make(chan struct{}, 1),
	}
	d.groups = newGroups(c, m.disk, &d.cfg)
	d.loops = &loops{dir: cfg.loopDir(), disk: m.disk, cfg: &d.cfg}
	d.metrics = newMetrics(d)
	return d, nil
}

// newID is the name of new blocks.
func newID() spec.ID {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return spec.ID(hex.EncodeToString(b[:]))
}

// poke wakes a loop that waits on c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
