package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// sysctls is where the kernel shows those of the caller's network namespace.
const sysctls = "/proc/sys/net"

// readSysctl returns a value of /proc/sys/net, such as "ipv4/ip_forward".
func readSysctl(key string) (string, error) {
	b, err := os.ReadFile(filepath.Join(sysctls, key))
	return strings.TrimSpace(string(b)), err
}

func writeSysctl(key, value string) error {
	if err := os.WriteFile(filepath.Join(sysctls, key), []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s: %w", dotted(key), value, err)
	}
	return nil
}

// dotted is the key as sysctl(8) writes it.
func dotted(key string) string { return "net." + strings.ReplaceAll(key, "/", ".") }

// noIPv6 keeps the kernel from speaking IPv6 on a link. A kernel without IPv6
// does not anyway.
func noIPv6(name string) error {
	err := writeSysctl("ipv6/conf/"+name+"/disable_ipv6", "1")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		if _, e := os.Stat(filepath.Join(sysctls, "ipv6")); errors.Is(e, os.ErrNotExist) {
			return nil
		}
	}
	return err
}
