package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// TestBinary is a program, most often of "go test", to run in a machine.
type TestBinary struct {
	// Path is the program on the host.
	Path string
	// Dir is the folder of its package on the host; its testdata goes along.
	Dir string
	// Args is the program's arguments.
	Args []string
	// Env holds "KEY=value" entries of the host; see [Machine.RunTest] for
	// what of it the program gets.
	Env []string
	// Stdio is where the program reads and writes.
	Stdio Stdio
}

// RunTest runs a program as root in the machine, in a folder with a copy of its
// package's testdata, and removes all it brought. The error of a program that
// failed is an [*ExitError].
//
// The program gets the variables MOS_* but those that name folders of the host,
// and these work for it:
//
//   - MOS_VM_FILES=LOCAL=REMOTE,… names files and folders to copy into the machine
//     first, unless they are there from the last time.
//   - MOS_VM_SET=KEY=value,… sets variables for the program alone.
//   - MOS_ARTIFACTS is a folder in the machine; what the program leaves there comes
//     to the host's MOS_ARTIFACTS.
//   - MOS_IN_VM=1 tells that it runs in the machine.
//
// The profiles that "go test" asks for come back to where it expects them.
func (m *Machine) RunTest(ctx context.Context, t TestBinary) (err error) {
	for local, remote := range pairs(env(t.Env, "MOS_VM_FILES")) {
		if err := m.copyOnce(ctx, local, remote); err != nil {
			return err
		}
	}
	// A short name: paths of UNIX sockets lie below it.
	work := fmt.Sprintf("/persist/t%d", os.Getpid())
	if _, _, err := m.Run(ctx, fmt.Sprintf("rm -rf %[1]s; mkdir -p %[1]s/src %[1]s/tmp %[1]s/artifacts %[1]s/out", work)); err != nil {
		return err
	}
	// A scope of systemd holds all that the program starts, also what leaves
	// its session: a test that panics ends none of its daemons.
	unit := "mos-test-" + filepath.Base(work) + ".scope"
	defer func() {
		_, _, rmErr := m.Run(context.WithoutCancel(ctx), fmt.Sprintf("systemctl kill -s KILL %s 2>/dev/null; rm -rf %s", unit, work))
		err = errors.Join(err, rmErr)
	}()
	// Tests may know their own name.
	program := filepath.Base(t.Path)
	if err := m.Copy(ctx, t.Path, work+"/"+program); err != nil {
		return err
	}
	if err := m.copyTestdata(ctx, t.Dir, work); err != nil {
		return err
	}
	args, profiles := remoteArgs(t.Args, work+"/out")
	line := fmt.Sprintf("cd %s/src && exec systemd-run --scope --quiet --collect --unit=%s env %s %s %s",
		work, unit, strings.Join(remoteEnv(t.Env, work), " "), Quote("../"+program), strings.Join(args, " "))
	err = m.Stream(ctx, line, t.Stdio)
	back := context.WithoutCancel(ctx)
	for remote, local := range profiles {
		err = errors.Join(err, m.fetchFile(back, remote, local))
	}
	return errors.Join(err, m.fetchArtifacts(back, work+"/artifacts", t.Env))
}

func (m *Machine) copyTestdata(ctx context.Context, dir, work string) error {
	local := filepath.Join(dir, "testdata")
	if _, err := os.Stat(local); err != nil {
		return nil //nolint:nilerr // a package without testdata
	}
	return m.Copy(ctx, local, work+"/src/testdata")
}

// remoteArgs quotes a test binary's arguments for the machine, leaves out what
// only the host can write, and says which files go back to where.
func remoteArgs(args []string, out string) (quoted []string, profiles map[string]string) {
	profiles = map[string]string{}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		switch strings.TrimLeft(name, "-") {
		case "test.testlogfile", "test.outputdir", "test.gocoverdir":
			continue
		case "test.coverprofile", "test.cpuprofile", "test.memprofile", "test.blockprofile", "test.mutexprofile", "test.trace":
			remote := filepath.Join(out, filepath.Base(value))
			profiles[remote] = value
			arg = name + "=" + remote
		}
		quoted = append(quoted, Quote(arg))
	}
	return quoted, profiles
}

// remoteEnv returns the quoted environment of a program in the machine.
func remoteEnv(host []string, work string) []string {
	keep := []string{
		"HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"MOS_IN_VM=1", "TMPDIR=" + work + "/tmp", "MOS_ARTIFACTS=" + work + "/artifacts",
	}
	for _, entry := range host {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case name == "MOS_CACHE", name == "MOS_ARTIFACTS", name == "MOS_ENGINE_NEW", strings.HasPrefix(name, "MOS_VM_"):
		case strings.HasPrefix(name, "MOS_"), name == "GOTRACEBACK", name == "GORACE", name == "GODEBUG":
			keep = append(keep, entry)
		}
	}
	for name, value := range pairs(env(host, "MOS_VM_SET")) {
		keep = append(keep, name+"="+value)
	}
	for i := range keep {
		keep[i] = Quote(keep[i])
	}
	return keep
}

// env returns the value of one variable, the last one as the system does.
func env(entries []string, name string) string {
	var value string
	for _, entry := range entries {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// pairs reads "a=b,c=d".
func pairs(s string) map[string]string {
	m := map[string]string{}
	for part := range strings.SplitSeq(s, ",") {
		if k, v, ok := strings.Cut(part, "="); ok {
			m[k] = v
		}
	}
	return m
}

// copyOnce copies unless the machine has the same from the last time.
func (m *Machine) copyOnce(ctx context.Context, local, remote string) error {
	mark, err := fingerprint(local)
	if err != nil {
		return fmt.Errorf("copy into the VM: %w", err)
	}
	note := fmt.Sprintf("/persist/copied-%x", sha256.Sum256([]byte(remote)))
	if have, _, err := m.Run(ctx, "cat "+note+" 2>/dev/null; true"); err != nil || have == mark {
		return err
	}
	if err := m.Copy(ctx, local, remote); err != nil {
		return err
	}
	_, _, err = m.Run(ctx, fmt.Sprintf("printf %%s %s >%s", Quote(mark), note))
	return err
}

// fingerprint changes when a file, or any file below a folder, does.
func fingerprint(path string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(sum, p, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// fetchFile brings back a file that the machine may not have: a test that
// panicked writes no profile.
func (m *Machine) fetchFile(ctx context.Context, remote, local string) error {
	data, _, err := m.Run(ctx, fmt.Sprintf("if [ -e %[1]s ]; then cat %[1]s; fi", Quote(remote)))
	if err != nil || data == "" {
		return err
	}
	return os.WriteFile(local, []byte(data), 0o600)
}

func (m *Machine) fetchArtifacts(ctx context.Context, remote string, host []string) error {
	names, _, err := m.Run(ctx, "ls -A "+remote)
	if err != nil || names == "" {
		return err
	}
	local := env(host, "MOS_ARTIFACTS")
	if local == "" {
		local = filepath.Join(os.TempDir(), "mos-artifacts")
	}
	return m.Fetch(ctx, remote, local)
}
