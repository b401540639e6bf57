package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// Names of the files in a machine's folder.
const (
	stateFile   = "vm.json"
	consoleFile = "console.log"
	qemuFile    = "qemu.log"
	dataFile    = "data.img"
)

// Machine is one virtual machine.
type Machine struct {
	dir   string
	state state
}

// state is what vm.json holds.
type state struct {
	Config  Config  `json:"config"`
	Image   Image   `json:"image"`
	Process process `json:"process"`
	// Port is the port of 127.0.0.1 that leads to the machine's sshd.
	Port int `json:"port"`
	// Sockets is a folder with a short name: the path of a UNIX socket holds
	// 107 bytes, and ssh adds 17 while it makes one.
	Sockets string `json:"sockets"`
}

// Create makes the folder dir, which must not exist, and the disks of a machine
// in it. The machine does not run yet. When it fails the folder is gone.
func Create(ctx context.Context, dir string, image Image, config Config) (*Machine, error) {
	m := &Machine{dir: dir, state: state{Config: config.withDefaults(), Image: image}}
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("create a VM in %s: %w: remove that folder", dir, errdefs.ErrAlreadyExists)
	} else if err != nil {
		return nil, err
	}
	err := m.makeDisks(ctx)
	if err == nil {
		m.state.Sockets, err = os.MkdirTemp("", "mosvm")
	}
	if err == nil {
		err = m.save()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(m.state.Sockets), os.RemoveAll(dir))
	}
	return m, nil
}

// Open returns the machine that lives in dir, running or not. The error is
// [errdefs.ErrNotFound] when there is none.
func Open(dir string) (*Machine, error) {
	m := &Machine{dir: dir}
	data, err := os.ReadFile(m.file(stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open the VM in %s: %w", dir, errdefs.ErrNotFound)
	}
	if err == nil {
		err = json.Unmarshal(data, &m.state)
	}
	if err != nil {
		return nil, fmt.Errorf("open the VM in %s: %w", dir, err)
	}
	return m, nil
}

func (m *Machine) file(name string) string { return filepath.Join(m.dir, name) }

func (m *Machine) diskFile(i int) string { return m.file(fmt.Sprintf("pv%d.img", i)) }

// save writes vm.json, replacing it in one go.
func (m *Machine) save() error {
	data, err := json.MarshalIndent(m.state, "", "  ")
	if err != nil {
		return err
	}
	part := m.file(stateFile + ".part")
	return errors.Join(os.WriteFile(part, data, 0o600), os.Rename(part, m.file(stateFile)))
}

func (m *Machine) makeDisks(ctx context.Context) error {
	if err := sparse(m.file(dataFile), m.state.Config.DataGiB); err != nil {
		return err
	}
	if err := hostCommand(ctx, "mkfs.ext4", "-q", "-F", "-L", "mos-data", m.file(dataFile)); err != nil {
		return fmt.Errorf("make the data disk: %w", err)
	}
	for i, size := range m.state.Config.DisksGiB {
		if err := sparse(m.diskFile(i), size); err != nil {
			return err
		}
	}
	return nil
}

func sparse(path string, gib int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(gib)<<30), f.Close())
}

// Dir returns the machine's folder.
func (m *Machine) Dir() string { return m.dir }

// Image returns the image that the machine runs.
func (m *Machine) Image() Image { return m.state.Image }

// Port returns the port of 127.0.0.1 that leads to the machine's sshd.
func (m *Machine) Port() int { return m.state.Port }

// PID returns the id of the machine's process, which may have ended.
func (m *Machine) PID() int { return m.state.Process.PID }

// Running says whether the machine's process lives; it may be booting still.
func (m *Machine) Running() bool { return m.state.Process.alive() }

// Console returns what the machine wrote to its serial console since it was
// created.
func (m *Machine) Console() string {
	data, err := os.ReadFile(m.file(consoleFile))
	if err != nil {
		return ""
	}
	return string(data)
}

// Boot starts the machine and waits until its Docker Engine, Open vSwitch and
// sshd have started. It is refused when the machine runs. When it fails the
// machine does not run.
func (m *Machine) Boot(ctx context.Context) error {
	if m.Running() {
		return fmt.Errorf("boot the VM in %s: %w: it runs as process %d", m.dir, errdefs.ErrFailedPrecondition, m.PID())
	}
	for try := 0; ; try++ {
		err := m.bootOnce(ctx)
		if err == nil {
			return nil
		}
		err = errors.Join(err, m.kill(context.WithoutCancel(ctx)))
		if try == 4 || !emulators(err) {
			return fmt.Errorf("boot the VM in %s: %w", m.dir, err)
		}
	}
}

// emulators says that a boot failed by no fault of the guest's: another process
// took the port before QEMU did, or one of the emulated processors ran into a
// breakpoint that the kernel has in its code for the moment in which it patches
// itself.
func emulators(err error) bool {
	s := err.Error()
	return strings.Contains(s, "Could not set up host forwarding") ||
		strings.Contains(s, "Kernel panic") && strings.Contains(s, "Oops: int3")
}

func (m *Machine) bootOnce(ctx context.Context) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	m.state.Port = port
	output, err := os.Create(m.file(qemuFile))
	if err != nil {
		return err
	}
	defer output.Close()
	mark := len(m.Console())
	if m.state.Process, err = start(ctx, m.argv(), output, m.state.Config.Detached); err != nil {
		return err
	}
	if err := m.save(); err != nil {
		return err
	}
	return m.waitReady(ctx, mark)
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, errors.Join(err, l.Close())
	}
	n, err := strconv.Atoi(port)
	return n, errors.Join(err, l.Close())
}

// waitReady waits for the line that the machine writes to its console when all
// is up, after the first mark bytes.
func (m *Machine) waitReady(ctx context.Context, mark int) error {
	err := poll(ctx, 200*time.Millisecond, func() (bool, error) {
		console := m.Console()
		console = console[min(mark, len(console)):]
		if strings.Contains(console, "\nmos-vm-ready ") {
			return true, nil
		}
		for _, bad := range []string{"mos-vm-dead", "Kernel panic"} {
			if strings.Contains(console, bad) {
				return false, fmt.Errorf("the VM is dead, its console says:\n%s\n%s", cause(console), tail(console, 60))
			}
		}
		if !m.Running() {
			words, _ := os.ReadFile(m.file(qemuFile)) // nothing read is nothing to tell
			return false, fmt.Errorf("QEMU ended: %s", tail(string(words), 10))
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the VM to be up: %w; the end of its console:\n%s", err, tail(m.Console(), 10))
	}
	return m.openSSH(ctx)
}

// cause is the line with which a kernel's report of its end begins: that of a long way
// down is longer than what is worth showing.
func cause(console string) string {
	i := strings.Index(console, "Oops: ")
	if i < 0 {
		return ""
	}
	line, _, _ := strings.Cut(console[i:], "\n")
	return line
}

// kill ends QEMU and what belongs to it on the host.
func (m *Machine) kill(ctx context.Context) error {
	return errors.Join(m.state.Process.kill(ctx), m.closeSSH(ctx))
}

// PowerCut ends the machine as a loss of power does, and boots it again from the
// same disks. What the machine's kernel had not sent to a disk is lost; what it
// had sent is there.
func (m *Machine) PowerCut(ctx context.Context) error {
	if err := m.PowerOff(ctx); err != nil {
		return err
	}
	return m.Boot(ctx)
}

// PowerOff ends the machine as a loss of power does. [Machine.Boot] boots it
// again from the same disks.
func (m *Machine) PowerOff(ctx context.Context) error {
	if err := m.kill(ctx); err != nil {
		return fmt.Errorf("cut the power of the VM in %s: %w", m.dir, err)
	}
	return nil
}

// Reboot lets the machine's system stop its services and start again, and waits
// until it is up. A reboot that comes from inside ends the machine, and
// [Machine.Boot] is left to the caller.
func (m *Machine) Reboot(ctx context.Context) error {
	// QEMU ends when its machine resets, see argv.
	_, _, err := m.Run(ctx, "systemctl --no-block reboot")
	if err == nil {
		err = poll(ctx, 100*time.Millisecond, func() (bool, error) { return !m.Running(), nil })
	}
	if err == nil {
		err = m.Boot(ctx)
	}
	if err != nil {
		return fmt.Errorf("reboot the VM in %s: %w", m.dir, err)
	}
	return nil
}

// Remove ends the machine and removes its folder.
func (m *Machine) Remove(ctx context.Context) error {
	err := m.kill(ctx)
	if err != nil {
		return fmt.Errorf("remove the VM in %s: %w", m.dir, err)
	}
	return errors.Join(os.RemoveAll(m.state.Sockets), os.RemoveAll(m.dir))
}
