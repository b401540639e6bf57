package rig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// parts returns the daemons that the host starts at boot, in their order.
func (h *Host) parts() []*daemon {
	var ds []*daemon
	if h.rig.cfg.OVS {
		ds = append(ds, h.newDaemon(h.ovsdb()), h.newDaemon(h.vswitchd()))
	}
	if h.rig.cfg.Engine != EngineNone {
		ds = append(ds, h.newDaemon(h.dockerd()))
	}
	return ds
}

// ovsdb is Debian's ovs-ctl without its --monitor, so that a killed daemon
// stays dead. The database is made here, not by the daemon.
func (h *Host) ovsdb() Daemon {
	const script = `db=/etc/openvswitch/conf.db
[ -e $db ] || ovsdb-tool create $db /usr/share/openvswitch/vswitch.ovsschema || exit
exec ovsdb-server $db -vconsole:off -vsyslog:off -vfile:info --log-file --pidfile \
	--remote=punix:/run/openvswitch/db.sock`
	return Daemon{Name: Ovsdb, Argv: []string{"/bin/sh", "-c", script}, Ready: func() error {
		if err := dial(h.rig.ctx, filepath.Join(h.dir, "run/openvswitch/db.sock")); err != nil {
			return err
		}
		args := []string{"ovs-vsctl", "--no-wait", "--timeout=5", "--", "init", "--", "set", "Open_vSwitch", ".", "external_ids:system-id=" + h.Name}
		if h.rig.cfg.TSO {
			args = append(args, "other_config:userspace-tso-enable=true")
		}
		_, err := h.Run(h.rig.ctx, xexec.Cmd{Argv: args})
		return err
	}}
}

func (h *Host) vswitchd() Daemon {
	argv := []string{"ovs-vswitchd", "-vconsole:off", "-vsyslog:off", "-vfile:info", "--log-file", "--pidfile", "unix:/run/openvswitch/db.sock"}
	return Daemon{Name: Vswitchd, Argv: argv, Ready: func() error {
		// A change of the database is waited for until ovs-vswitchd has
		// taken it over. Its own pidfile comes before it serves.
		_, err := h.Run(h.rig.ctx, xexec.Cmd{Argv: []string{"ovs-vsctl", "--timeout=2", "set", "Open_vSwitch", ".", fmt.Sprintf("external_ids:rig-boot=%d", time.Now().UnixNano())}})
		return err
	}}
}

func (h *Host) dockerd() Daemon {
	cfg := h.rig.cfg
	argv := []string{"dockerd", "--host=unix:///run/docker.sock", "--userland-proxy=false", "--pidfile=/run/docker.pid"}
	if cfg.LiveRestore {
		argv = append(argv, "--live-restore")
	}
	if cfg.Nftables {
		argv = append(argv, "--firewall-backend=nftables")
	}
	socket := h.Socket()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	return Daemon{Name: Dockerd, Argv: append(argv, cfg.DockerdArgs...), Ready: func() error {
		req, err := http.NewRequestWithContext(h.rig.ctx, http.MethodGet, "http://docker/_ping", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}}
}

// dial reports whether somebody listens on a unix socket. A socket file alone
// may be left over from a killed daemon.
func dial(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return c.Close()
}

// keepLogs copies what a host's daemons wrote to files of their own into the
// folder of its logs.
func (h *Host) keepLogs() error {
	dir := filepath.Join(h.dir, "disk/var/log")
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // a missing log is no fault
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(h.rig.logs, h.Name, filepath.Base(path)+".file"), b, 0o600)
	})
}
