package ovstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
)

const (
	schema    = "/usr/share/openvswitch/vswitch.ovsschema"
	startTime = 15 * time.Second
)

// Options of a private Open vSwitch.
type Options struct {
	TSO bool // userspace TSO
}

// OVS is a private Open vSwitch: ovsdb-server and ovs-vswitchd.
type OVS struct {
	RunDir string // for ovs.Config

	tb     testing.TB
	db, sw *daemon
}

// Start starts both daemons in the caller's namespaces, which must not be the
// machine's own; the test's end stops them. It skips the test without root or
// Open vSwitch.
func Start(tb testing.TB, o Options) *OVS {
	tb.Helper()
	testx.Need(tb, testx.Root, testx.OVS)
	if os.Getenv(insideEnv) == "" {
		tb.Fatal("this test would change the machine's own network: its TestMain has to call ovstest.Main")
	}
	dir, err := os.MkdirTemp("", "ovs") // a socket's path is at most 107 bytes: too short for tb.TempDir
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &OVS{RunDir: dir, tb: tb}
	s.run("ovsdb-tool", "create", s.path("conf.db"), schema)
	tb.Cleanup(func() {
		s.sw.stop()
		s.db.stop()
		if tb.Failed() {
			tb.Log(s.tail("vswitchd.log"))
		}
	})
	s.StartDB()
	s.Vsctl("--no-wait", "init")
	if o.TSO {
		s.Vsctl("--no-wait", "set", "open_vswitch", ".", "other_config:userspace-tso-enable=true")
	}
	s.StartSwitch()
	return s
}

func (o *OVS) path(name string) string { return filepath.Join(o.RunDir, name) }

func (o *OVS) env() []string {
	return append(os.Environ(), "LC_ALL=C", "OVS_RUNDIR="+o.RunDir, "OVS_LOGDIR="+o.RunDir, "OVS_DBDIR="+o.RunDir, "OVS_SYSCONFDIR="+o.RunDir)
}

func (o *OVS) run(argv ...string) string {
	o.tb.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = o.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.tb.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// Vsctl runs ovs-vsctl and returns its output; a failure ends the test.
func (o *OVS) Vsctl(args ...string) string {
	o.tb.Helper()
	return o.run(append([]string{"ovs-vsctl", "--timeout=10", "--db=unix:" + o.path("db.sock")}, args...)...)
}

// Ofctl runs ovs-ofctl with OpenFlow 1.4 and returns its output; a failure ends
// the test.
func (o *OVS) Ofctl(args ...string) string {
	o.tb.Helper()
	return o.run(append([]string{"ovs-ofctl", "--timeout=10", "-O", "OpenFlow14"}, args...)...)
}

// Appctl runs ovs-appctl for ovs-vswitchd and returns its output; a failure
// ends the test.
func (o *OVS) Appctl(args ...string) string {
	o.tb.Helper()
	return o.run(append([]string{"ovs-appctl", "--timeout=10", "-t", "ovs-vswitchd"}, args...)...)
}

// KillSwitch ends ovs-vswitchd with SIGKILL and waits for its end.
func (o *OVS) KillSwitch() { o.sw.kill() }

// StartSwitch starts ovs-vswitchd again and waits until it is ready.
func (o *OVS) StartSwitch() {
	o.tb.Helper()
	o.sw = o.start("ovs-vswitchd", "unix:"+o.path("db.sock"), "--pidfile",
		"--log-file="+o.path("vswitchd.log"), "-vconsole:off")
	o.until(func() error {
		select {
		case <-o.sw.done:
			o.tb.Fatalf("ovs-vswitchd ended: %s", o.sw.stderr.String())
		default:
		}
		return o.try("ovs-appctl", "--timeout=2", "-t", "ovs-vswitchd", "version")
	})
	o.Vsctl("set", "open_vswitch", ".", "external_ids:started="+strconv.FormatInt(time.Now().UnixNano(), 10)) // waits for the first pass
}

// SwitchPID is the process id of ovs-vswitchd.
func (o *OVS) SwitchPID() int { return o.sw.cmd.Process.Pid }

// KillDB ends ovsdb-server with SIGKILL and waits for its end.
func (o *OVS) KillDB() { o.db.kill() }

// StartDB starts ovsdb-server again, with the same database.
func (o *OVS) StartDB() {
	o.tb.Helper()
	o.db = o.start("ovsdb-server", o.path("conf.db"), "--remote=punix:"+o.path("db.sock"), "--pidfile",
		"--log-file="+o.path("ovsdb.log"), "-vconsole:off")
	o.until(func() error {
		nc, err := net.Dial("unix", o.path("db.sock"))
		if err == nil {
			_ = nc.Close()
		}
		return err
	})
}

func (o *OVS) try(argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = o.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", argv[0], err, out)
	}
	return nil
}

func (o *OVS) until(f func() error) {
	o.tb.Helper()
	testx.Eventually(o.tb, startTime, f)
}

func (o *OVS) tail(name string) string {
	b, _ := os.ReadFile(o.path(name)) // no log, nothing to show
	lines := bytes.Split(b, []byte("\n"))
	return name + ":\n" + string(bytes.Join(lines[max(0, len(lines)-40):], []byte("\n")))
}

// daemon is a process that the test owns.
type daemon struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // to be read after done
	done   chan struct{}
}

func (o *OVS) start(argv ...string) *daemon {
	o.tb.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(o.tb.Context()), argv[0], argv[1:]...)
	cmd.Env = o.env()
	d := &daemon{cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = &d.stderr
	if err := cmd.Start(); err != nil {
		o.tb.Fatal(err)
	}
	go func() {
		defer close(d.done)
		_ = cmd.Wait() // it is ended by a signal
	}()
	return d
}

func (d *daemon) signal(s syscall.Signal) {
	if d == nil {
		return
	}
	if err := d.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		panic(err)
	}
}

func (d *daemon) kill() {
	d.signal(syscall.SIGKILL)
	<-d.done
}

// stop ends the daemon, first kindly: ovs-vswitchd then removes its taps.
func (d *daemon) stop() {
	if d == nil {
		return
	}
	d.signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(5 * time.Second):
		d.kill()
	}
}
