package plugins

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// engine is a docker that knows plugins by name. push is what its push does.
func engine(t *testing.T, push string) (bin string, has func() string) {
	t.Helper()
	bin, state := t.TempDir(), t.TempDir()
	script := `#!/bin/sh
for name; do :; done
[ "$2" != create ] || name=$3
at=` + state + `/$(echo "$name" | tr / _)
case $2 in
inspect) [ -e "$at" ] ;;
create) [ -e "$4/config.json" ] && [ ! -e "$at" ] && touch "$at" ;;
rm) rm "$at" ;;
push) ` + push + ` ;;
esac
`
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return bin, func() string {
		files, err := filepath.Glob(state + "/*")
		if err != nil {
			t.Fatal(err)
		}
		for i := range files {
			files[i] = filepath.Base(files[i])
		}
		return strings.Join(files, " ")
	}
}

// TestThePushLeavesNothingAtTheEngine that was not there: neither when it is refused nor when
// it is ended amid it. It says what to do.
func TestThePushLeavesNothingAtTheEngine(t *testing.T) {
	if _, err := os.ReadFile("push"); err != nil { // a kept result of this test is of this script
		t.Fatal(err)
	}
	plugins := filepath.Join(t.TempDir(), "with space")
	for _, name := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(plugins, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(plugins, name, "config.json"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		push string
		args []string
		had  string // a plugin of the Engine
		says string // "" is that it succeeds
	}{
		"well":        {push: `echo "pushed $name"`, args: []string{"reg:5000", "1.0", plugins}},
		"refused":     {push: `exit 1`, args: []string{"reg:5000", "1.0", plugins}, says: "docker login reg:5000"},
		"ended":       {push: `kill -TERM $PPID; sleep 1`, args: []string{"reg:5000", "1.0", plugins}, says: " "},
		"installed":   {push: `exit 0`, args: []string{"reg:5000", "1.0", plugins}, had: "reg:5000_a:1.0", says: "docker plugin rm reg:5000/a:1.0"},
		"none made":   {push: `exit 0`, args: []string{"reg:5000", "1.0", t.TempDir()}, says: "make plugins"},
		"no registry": {push: `exit 0`, args: []string{""}, says: "REGISTRY="},
	} {
		t.Run(name, func(t *testing.T) {
			bin, has := engine(t, tt.push)
			c := exec.CommandContext(t.Context(), "./push", tt.args...)
			c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			if tt.had != "" {
				c2 := exec.CommandContext(t.Context(), bin+"/docker", "plugin", "create", strings.ReplaceAll(tt.had, "_", "/"), filepath.Join(plugins, "a"))
				if err := c2.Run(); err != nil {
					t.Fatal(err)
				}
			}
			out, err := c.CombinedOutput()
			if (err == nil) != (tt.says == "") || tt.says != " " && !strings.Contains(string(out), tt.says) {
				t.Errorf("it says %q, %v, want %q", out, err, tt.says)
			}
			if tt.says == "" && !strings.Contains(string(out), "pushed reg:5000/a:1.0\npushed reg:5000/b:1.0") {
				t.Errorf("it says %q", out)
			}
			if got := has(); got != tt.had {
				t.Errorf("the Engine has %q, had %q", got, tt.had)
			}
		})
	}
}

// TestPluginsAreOfOneArchitecture: the tools are this machine's, so the programs are, too.
func TestPluginsAreOfOneArchitecture(t *testing.T) {
	if _, err := os.ReadFile("build"); err != nil { // a kept result of this test is of this script
		t.Fatal(err)
	}
	path, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := "#!/bin/sh\n[ $1 = env ] || exit 3\nexec " + path + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "./build", t.TempDir())
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "GOARCH=mips64")
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "mips64") {
		t.Errorf("it says %q, %v", out, err)
	}
}
