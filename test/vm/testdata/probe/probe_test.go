package probe

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSeesTheVM runs in the VM, and writes what it sees where the host looks.
func TestSeesTheVM(t *testing.T) {
	file, err := os.ReadFile("testdata/file")
	if err != nil {
		t.Fatal(err)
	}
	release, err := exec.Command("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME").Output()
	if err != nil {
		t.Fatal(err)
	}
	brought, err := os.ReadFile("/opt/brought/file")
	if err != nil {
		t.Fatal(err)
	}
	seen := []string{
		strings.TrimSpace(string(file)), strings.TrimSpace(string(release)), strings.TrimSpace(string(brought)),
		os.Getenv("MOS_WORD"), os.Getenv("MOS_SET"), os.Getenv("MOS_IN_VM"), os.Getenv("MOS_CACHE"),
	}
	if err := os.WriteFile(filepath.Join(os.Getenv("MOS_ARTIFACTS"), "seen"), []byte(strings.Join(seen, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if Double(2) != 4 {
		t.Error("no")
	}
}

// TestFails must make the command on the host fail.
func TestFails(t *testing.T) {
	if os.Getenv("MOS_PROBE") == "fail" {
		t.Fatal("told to fail")
	}
}

// TestHangs must be ended by the host, with its child.
func TestHangs(t *testing.T) {
	if os.Getenv("MOS_PROBE") != "hang" {
		return
	}
	if err := exec.Command("sleep", "7777").Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
}
