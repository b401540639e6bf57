package authz

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// shut says why a group does not reach a socket, and what to do; "" when it does.
func shut(socket, group string) string {
	g, err := user.LookupGroup(group)
	if err != nil {
		return fmt.Sprintf("this host has no group %s: make it with groupadd -r %s, and restart mos-authz", group, group)
	}
	has := func(path string, want os.FileMode) (bool, os.FileMode, error) {
		fi, err := os.Stat(path)
		if err != nil {
			return false, 0, err
		}
		mode := fi.Mode().Perm()
		st, ok := fi.Sys().(*syscall.Stat_t)
		ours := ok && strconv.FormatUint(uint64(st.Gid), 10) == g.Gid
		return mode&want == want || ours && mode>>3&want == want, mode, nil
	}
	in, mode, err := has(socket, 0o6)
	switch {
	case err != nil:
		return fmt.Sprintf("the guarded socket is gone: %v: restart mos-authz", err)
	case !in:
		return fmt.Sprintf("socket %s has mode %04o or another group, which keeps group %s out: chgrp %s %s and chmod 660 %s", socket, mode, group, group, socket, socket)
	}
	for dir := filepath.Dir(socket); ; dir = filepath.Dir(dir) {
		in, mode, err := has(dir, 0o1)
		switch {
		case err != nil:
			return fmt.Sprintf("folder of the guarded socket: %v", err)
		case !in:
			return fmt.Sprintf("folder %s has mode %04o, which keeps group %s out of the guarded socket: chmod o+x %s", dir, mode, group, dir)
		case dir == "/":
			return ""
		}
	}
}
