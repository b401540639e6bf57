package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ExitError says that a command in the machine did not do its work.
type ExitError struct {
	// Command is the shell line that ran.
	Command string
	// Code is its exit code; 255 also when ssh lost the machine, -1 when the
	// context ended it.
	Code int
	// Stderr is what it wrote to standard error, empty when that went
	// elsewhere.
	Stderr string
	// Err is what lies behind it.
	Err error
}

// Error returns one line with the command, its exit code and its last words.
func (e *ExitError) Error() string {
	msg := fmt.Sprintf("run %q in the VM: exit code %d", e.Command, e.Code)
	if e.Code < 0 {
		msg = fmt.Sprintf("run %q in the VM: %v", e.Command, e.Err)
	}
	if s := strings.TrimSpace(e.Stderr); s != "" {
		msg += ": " + tail(s, 20)
	}
	return msg
}

// Unwrap returns what lies behind the error.
func (e *ExitError) Unwrap() error { return e.Err }

// Stdio is where a command reads and writes; nil is nowhere.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run runs a shell line as root in the machine, with no input, and returns what
// it wrote. Its error is an [*ExitError]. The end of ctx kills the whole session
// of the command.
func (m *Machine) Run(ctx context.Context, line string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	err = m.Stream(ctx, line, Stdio{Out: &out, Err: &errs})
	if exit := (*ExitError)(nil); errors.As(err, &exit) {
		exit.Stderr = errs.String()
	}
	return out.String(), errs.String(), err
}

// Stream is [Machine.Run] with input and output passed through as they come.
func (m *Machine) Stream(ctx context.Context, line string, stdio Stdio) error {
	// sshd gives each command a session whose leader is its shell. Without a
	// terminal nothing ends it when ssh goes away: we keep the leader's id.
	note := fmt.Sprintf("/run/mos-vm-%d-%d", os.Getpid(), time.Now().UnixNano())
	wrapped := fmt.Sprintf("echo $$ >%s; sh -c %s; code=$?; rm -f %s; exit $code", note, Quote(line), note)
	cmd := m.ssh(context.WithoutCancel(ctx), wrapped)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdio.In, stdio.Out, stdio.Err
	// A command that leaves a daemon behind with our pipes must not hold us.
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %q in the VM: %w", line, err)
	}
	var err error
	done := make(chan struct{})
	go func() { defer close(done); err = cmd.Wait() }()
	select {
	case <-done:
		if err == nil || errors.Is(err, exec.ErrWaitDelay) {
			return nil
		}
		return &ExitError{Command: line, Code: cmd.ProcessState.ExitCode(), Err: err}
	case <-ctx.Done():
		m.stop(ctx, note)
		_ = cmd.Process.Kill() // it may have ended by itself
		<-done
		return &ExitError{Command: line, Code: -1, Err: context.Cause(ctx)}
	}
}

// stop ends the session whose leader's id is in the file note: a Go program
// tells with SIGQUIT where it stands, then all are killed.
func (m *Machine) stop(ctx context.Context, note string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	line := fmt.Sprintf("s=$(cat %s) || exit 0; pkill -QUIT -s $s -f '^\\.\\./[^ ]*\\.test '; "+
		"for i in 1 2 3 4 5 6; do pgrep -s $s >/dev/null || break; sleep 0.3; done; pkill -KILL -s $s; rm -f %s", note, note)
	_ = m.ssh(ctx, line).Run() // the machine may be dead, and then so is the session
}

// Copy copies a file, or a folder with all in it, to the path remote in the
// machine. Folders above it are made; a file is replaced in one go, also while
// it is being executed; a folder is emptied first.
func (m *Machine) Copy(ctx context.Context, local, remote string) error {
	info, err := os.Stat(local)
	if err != nil {
		return fmt.Errorf("copy into the VM: %w", err)
	}
	if info.IsDir() {
		err = m.copyDir(ctx, local, remote)
	} else {
		err = m.copyFile(ctx, local, remote, info)
	}
	if err != nil {
		return fmt.Errorf("copy %s to %s in the VM: %w", local, remote, err)
	}
	return nil
}

func (m *Machine) copyFile(ctx context.Context, local, remote string, info os.FileInfo) error {
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	to := Quote(remote)
	line := fmt.Sprintf("mkdir -p %s && cat >%s.part && chmod %o %s.part && mv -f %s.part %s",
		Quote(filepath.Dir(remote)), to, info.Mode().Perm(), to, to, to)
	return m.Stream(ctx, line, Stdio{In: f})
}

func (m *Machine) copyDir(ctx context.Context, local, remote string) error {
	tar := exec.CommandContext(ctx, "tar", "-C", local, "-cf", "-", ".")
	pipe, err := tar.StdoutPipe()
	if err != nil {
		return err
	}
	if err := tar.Start(); err != nil {
		return err
	}
	to := Quote(remote)
	err = m.Stream(ctx, fmt.Sprintf("rm -rf %s && mkdir -p %s && tar -C %s --no-same-owner -xf -", to, to, to), Stdio{In: pipe})
	// Should the machine be dead, tar must not wait for its reader for ever.
	_ = pipe.Close()
	if waitErr := tar.Wait(); err == nil {
		err = waitErr
	}
	return err
}

// Fetch copies a folder of the machine into the folder local, which is made when
// missing.
func (m *Machine) Fetch(ctx context.Context, remote, local string) error {
	if err := os.MkdirAll(local, 0o750); err != nil {
		return err
	}
	tar := exec.CommandContext(ctx, "tar", "-C", local, "--no-same-owner", "-xf", "-")
	pipe, err := tar.StdinPipe()
	if err != nil {
		return err
	}
	if err := tar.Start(); err != nil {
		return err
	}
	err = m.Stream(ctx, fmt.Sprintf("tar -C %s -cf - .", Quote(remote)), Stdio{Out: pipe})
	if err = errors.Join(err, pipe.Close(), tar.Wait()); err != nil {
		return fmt.Errorf("copy %s out of the VM: %w", remote, err)
	}
	return nil
}

// Quote returns s as one word of a shell line.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// SSH returns the command line of an ssh client for the machine, to be followed
// by a command.
func (m *Machine) SSH() []string {
	return []string{
		"ssh", "-F", "none", "-i", m.state.Image.file("key"),
		"-o", "UserKnownHostsFile=" + m.state.Image.file("known_hosts"),
		"-o", "HostKeyAlias=mos-vm", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
		"-o", "LogLevel=ERROR", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8",
		"-o", "ControlPath=" + m.control(), "-o", "ControlMaster=no",
		"-p", strconv.Itoa(m.state.Port), "root@127.0.0.1",
	}
}

func (m *Machine) control() string { return filepath.Join(m.state.Sockets, "ssh") }

func (m *Machine) ssh(ctx context.Context, line string) *exec.Cmd {
	argv := append(m.SSH(), line)
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}

// openSSH opens the connection that later commands share: a handshake costs an
// emulated CPU half a second. It ends with the machine; that of a detached one
// ends after a minute of no use, since the machine looks for connections to know
// whether it is idle. Commands work without it, only slower.
func (m *Machine) openSSH(ctx context.Context) error {
	if err := m.closeSSH(ctx); err != nil {
		return err
	}
	argv := m.SSH()
	persist := "ControlPersist=yes"
	if m.state.Config.Detached {
		persist = "ControlPersist=60"
	}
	// The first value of an option wins.
	argv = append([]string{argv[0], "-f", "-N", "-o", "ControlMaster=yes", "-o", persist, "-o", "ConnectTimeout=60"}, argv[1:]...)
	// It stays in the background: it must not hold a pipe of ours.
	if err := exec.CommandContext(ctx, argv[0], argv[1:]...).Run(); err != nil {
		return fmt.Errorf("open an ssh connection to the VM: %w", err)
	}
	return nil
}

// closeSSH ends the shared connection, if there is one.
func (m *Machine) closeSSH(ctx context.Context) error {
	if _, err := os.Stat(m.control()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	argv := m.SSH()
	argv = append([]string{argv[0], "-O", "exit"}, argv[1:]...)
	_ = exec.CommandContext(ctx, argv[0], argv[1:]...).Run() // fails when it has ended; the socket may lie there still
	if err := os.Remove(m.control()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// hostCommand runs a command of the host that may lie where only root looks.
func hostCommand(ctx context.Context, name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name
	}
	if out, err := exec.CommandContext(ctx, path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w: %s", name, err, tail(string(out), 5))
	}
	return nil
}
