package authz

import (
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/authz/api"
)

// TestStatusSaysWhoKeepsTheGroupOut of the guarded socket: its members hear "permission
// denied" only.
func TestStatusSaysWhoKeepsTheGroupOut(t *testing.T) {
	g, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		t.Skip("this process's group has no name: ", err)
	}
	top, err := os.MkdirTemp("/tmp", "mos-reach") //nolint:usetesting // all may enter the folders above it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	dir := filepath.Join(top, "run")
	socket := filepath.Join(dir, "docker.sock")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		top, dir, socket os.FileMode
		group, want      string
	}{
		{0o755, 0o755, 0o660, g.Name, ""},
		{0o750, 0o710, 0o666, g.Name, ""},
		{0o755, 0o700, 0o660, g.Name, "folder " + dir + " has mode 0700, which keeps group " + g.Name + " out of the guarded socket: chmod o+x " + dir},
		{0o700, 0o755, 0o660, g.Name, "chmod o+x " + top},
		{0o755, 0o755, 0o600, g.Name, "chmod 660 " + socket},
		{0o755, 0o755, 0o660, "no-such-group", "groupadd -r no-such-group"},
	} {
		for path, mode := range map[string]os.FileMode{top: tt.top, dir: tt.dir, socket: tt.socket} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		if got := shut(socket, tt.group); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
	h := open(t, policyOfMe(), func(c *Config) { c.Group = "no-such-group" })
	if s, err := api.New(h.cfg.Admin).Status(t.Context()); err != nil || !strings.Contains(s.Shut, "no-such-group") {
		t.Errorf("the status says %+v, %v", s, err)
	}
}
