package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tools puts programs that do nothing but what a package needs of them into a folder.
func tools(t *testing.T, deb string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"go":       `if [ "$1" = run ]; then mkdir -p "$4"; exit; fi; for p in docker-mos mosbridge mos-lvm mos-authz mosd mos-scheduler; do printf '#!/bin/sh\n' >"$4/$p"; chmod 755 "$4/$p"; done`,
		"dpkg":     "echo amd64",
		"dpkg-deb": `for file; do :; done; ` + deb,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestAPackageIsWholeOrNotThere: one that is cut off leaves the one before as it was.
func TestAPackageIsWholeOrNotThere(t *testing.T) {
	if _, err := os.ReadFile("deb"); err != nil { // a kept result of this test is of this script
		t.Fatal(err)
	}
	out := t.TempDir()
	build := func(deb string) error {
		c := exec.CommandContext(t.Context(), "./deb", out)
		c.Env = append(os.Environ(), "PATH="+tools(t, deb)+":"+os.Getenv("PATH"), "MOS_VERSION=1")
		text, err := c.CombinedOutput()
		t.Logf("%s", text)
		return err
	}
	check := func(want string) {
		t.Helper()
		files, err := os.ReadDir(out)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]string, 0, 1)
		for _, f := range files {
			text, err := os.ReadFile(filepath.Join(out, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, f.Name()+": "+string(text))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("the folder has %q, want %q", got, want)
		}
	}
	for _, fail := range []string{`printf half >"$file"; exit 1`, `printf half >"$file"; kill -TERM $PPID; sleep 1`} {
		if err := build(fail); err == nil {
			t.Error("a failure is none")
		}
		check("")
	}
	if err := build(`printf whole >"$file"`); err != nil {
		t.Fatal(err)
	}
	check("mosdocker_1_amd64.deb: whole")
	if err := build(`printf half >"$file"; exit 1`); err == nil {
		t.Error("a failure is none")
	}
	check("mosdocker_1_amd64.deb: whole")
}

// TestAPackageKnowsItsCommit, or says why not: git tells a stranger nothing, root neither, and
// a package without a commit is older than all others.
func TestAPackageKnowsItsCommit(t *testing.T) {
	if _, err := os.Stat("../.git"); err != nil {
		t.Skip("this is no repository")
	}
	if _, err := os.ReadFile("deb"); err != nil { // a kept result of this test is of this script
		t.Fatal(err)
	}
	bin, out := tools(t, `printf whole >"$file"`), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\necho 'fatal: dubious ownership' >&2\nexit 128\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "./deb", out)
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	text, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(text), "dubious ownership") {
		t.Errorf("it says %q, %v", text, err)
	}
	if files, err := os.ReadDir(out); err != nil || len(files) != 0 {
		t.Errorf("the folder has %v, %v", files, err)
	}
}
