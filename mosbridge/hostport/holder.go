package hostport

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holder names the program that holds the port, as far as /proc tells.
func holder(b Binding) string {
	inodes := map[string]bool{}
	for _, name := range []string{string(b.Proto), string(b.Proto) + "6"} {
		text, err := os.ReadFile("/proc/self/net/" + name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if inode, ok := inodeOf(line, b); ok {
				inodes["socket:["+inode+"]"] = true
			}
		}
	}
	if pid := owner(inodes); pid != 0 {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil {
			return fmt.Sprintf("a program of this host (%s, pid %d)", strings.TrimSpace(string(name)), pid)
		}
	}
	return "a program of this host"
}

// inodeOf reads a line of /proc/net/tcp and its like: the second word is the
// local address and port in hex, the tenth the inode of the socket, 0 for one
// without a program, as in TIME_WAIT.
func inodeOf(line string, b Binding) (string, bool) {
	words := strings.Fields(line)
	if len(words) < 10 || words[9] == "0" {
		return "", false
	}
	_, hex, _ := strings.Cut(words[1], ":")
	port, err := strconv.ParseUint(hex, 16, 16)
	return words[9], err == nil && uint16(port) == b.HostPort
}

// owner is a process that has one of the sockets open, 0 for none.
func owner(sockets map[string]bool) int {
	if len(sockets) == 0 {
		return 0
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && sockets[to] {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid
		}
	}
	return 0
}
