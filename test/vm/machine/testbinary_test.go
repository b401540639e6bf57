package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemoteArgs(t *testing.T) {
	got, profiles := remoteArgs([]string{
		"-test.v=true", "-test.testlogfile=/host/log", "-test.run=^Test(A|B)$", "-test.coverprofile=/host/c.out", "-own=it's",
	}, "/vm/out")
	want := []string{"'-test.v=true'", "'-test.run=^Test(A|B)$'", "'-test.coverprofile=/vm/out/c.out'", `'-own=it'\''s'`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"/vm/out/c.out": "/host/c.out"}, profiles); diff != "" {
		t.Errorf("profiles (-want +got):\n%s", diff)
	}
}

func TestRemoteEnvDropsTheHost(t *testing.T) {
	got := remoteEnv([]string{
		"HOME=/host", "PATH=/host", "MOS_CACHE=/host", "MOS_ARTIFACTS=/host", "MOS_ENGINE_NEW=/host",
		"MOS_TEST_MUST=root,dm", "MOS_VM_SET=MOS_ENGINE_NEW=/opt/engine,A=b=c", "SECRET=x",
	}, "/w")[5:]
	want := map[string]bool{"'MOS_TEST_MUST=root,dm'": true, "'MOS_ENGINE_NEW=/opt/engine'": true, "'A=b=c'": true}
	for _, entry := range got {
		if !want[entry] {
			t.Errorf("%s goes to the VM", entry)
		}
		delete(want, entry)
	}
	if len(want) > 0 {
		t.Errorf("missing in the VM: %v", want)
	}
}

func TestQuoteIsOneWord(t *testing.T) {
	for _, s := range []string{"", "a b", "it's", "$(false)", "\\", "'\"'", "a\nb"} {
		out, err := exec.Command("sh", "-c", "printf %s "+Quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("the shell reads %q as %q, %v", s, out, err)
		}
	}
}

func TestFingerprintSeesAChange(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	write := func(s string, mode os.FileMode) string {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		mark, err := fingerprint(dir)
		if err != nil {
			t.Fatal(err)
		}
		return mark
	}
	a := write("a", 0o600)
	if again, _ := fingerprint(dir); again != a {
		t.Error("changed without a change")
	}
	b, c := write("ab", 0o600), write("ab", 0o700)
	if a == b || b == c {
		t.Errorf("no change seen: %s, %s, %s", a, b, c)
	}
	if _, err := fingerprint(filepath.Join(dir, "none")); err == nil {
		t.Error("a missing file has a fingerprint")
	}
}
