package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

type conf struct {
	Socket  string         `toml:"socket" doc:"Unix socket that Docker calls."`
	Limit   int            `toml:"limit" doc:"How many calls run at once, a number that the daemon's owner should choose with some care; more than the machine has cores seldom helps."`
	Wait    Duration       `toml:"wait" doc:"Longest wait."`
	Pools   []netip.Prefix `toml:"pools" doc:"Where subnets come from."`
	Dry     bool           `toml:"dry-run" doc:"Change nothing."`
	Private int            `toml:"-"`
	Log     struct {
		Level string   `toml:"level" doc:"debug, info, warn or error."`
		Hooks []string `toml:"hooks" doc:"Where else lines go."`
	} `toml:"log" doc:"What is written to the log."`
}

func (c *conf) Check() error {
	if c.Limit < 1 {
		return fmt.Errorf("limit %d is below 1", c.Limit)
	}
	return nil
}

func defaults() *conf {
	c := &conf{Socket: "/run/x.sock", Limit: 4, Wait: Duration{time.Minute}}
	c.Log.Level = "info"
	return c
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPrecedence(t *testing.T) {
	src := Source{
		Name: "mosbridge",
		File: file(t, "socket = 'file'\nlimit = 7\nwait = '3s'\npools = ['10.0.0.0/8']\n[log]\nlevel = 'debug'\nhooks = ['a']\n"),
		Env:  []string{"MOS_MOSBRIDGE_LIMIT=8", "MOS_MOSBRIDGE_WAIT=4s", "MOS_MOSBRIDGE_LOG_HOOKS=b, c", "HOME=/", "MOS_OTHER=1"},
		Args: []string{"-wait", "5s", "-pools=fd00::/8,10.1.0.0/16", "-dry-run"},
	}
	got := defaults()
	if err := Load(src, got); err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Socket, want.Limit, want.Wait, want.Dry = "file", 8, Duration{5 * time.Second}, true
	want.Pools = []netip.Prefix{netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("10.1.0.0/16")}
	want.Log.Level, want.Log.Hooks = "debug", []string{"b", "c"}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestAllFaultsAreReportedTogether(t *testing.T) {
	name := file(t, "sokcet = 'x'\nlimit = 'many'\nwait = 5\n\n[log]\nlevel = 1\ncolor = true\n[lgo]\na = 1\n")
	err := Load(Source{
		Name: "mosbridge",
		File: name,
		Env:  []string{"MOS_MOSBRIDGE_DRY_RUN=maybe", "MOS_MOSBRIDGE_SOCKT=x"},
		Args: []string{"-limit", "-3", "-wait=7"},
	}, defaults())
	if !errdefs.IsInvalidArgument(err) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		name + ":1: unknown key sokcet", name + ":2: ", name + ":3: ", name + ":6: ", name + ":7: unknown key log.color", name + ":8: unknown key lgo",
		"environment MOS_MOSBRIDGE_DRY_RUN: ", "environment MOS_MOSBRIDGE_SOCKT: ",
		"flag -wait: ", "limit -3 is below 1",
	} {
		if strings.Count(err.Error(), want) != 1 {
			t.Errorf("%q is not in it once", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestBadFiles(t *testing.T) {
	for text, want := range map[string]string{
		"socket = \n":             ":1: ",
		"limit = 1\nlimit = 2\n":  ":2: ",
		"\n[log\n":                ":2: ",
		"limit = [\n'a',\n'b'\n]": ":1: key limit: ",
		"log = 3\n":               ":1: ",
		"limit = 1.5\n":           ":1: ",
		"wait = '-1s'\n":          ":1: key wait: ",
	} {
		err := Load(Source{Name: "x", File: file(t, text)}, defaults())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
}

func TestOnlyTheDefaultFileMayBeMissing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.toml")
	if err := Load(Source{Name: "x", File: missing}, defaults()); err != nil {
		t.Errorf("default file: %v", err)
	}
	if err := Load(Source{Name: "x", Args: []string{"-config", missing}}, defaults()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("flag: %v", err)
	}
	if err := Load(Source{Name: "mos-x", Env: []string{"MOS_X_CONFIG=" + missing}}, defaults()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("variable: %v", err)
	}
}

func TestBadFlagsAndArguments(t *testing.T) {
	for _, args := range [][]string{{"-nope"}, {"limit"}, {"-limit"}, {"-log", "x"}} {
		if err := Load(Source{Name: "x", File: "/dev/null", Args: args}, defaults()); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: got %v", args, err)
		}
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	var out strings.Builder
	if err := Load(Source{Name: "x", File: "/dev/null", Args: []string{"-h"}, Out: &out, Help: "x serves\n"}, defaults()); !errors.Is(err, ErrDone) {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "x serves\n") {
		t.Errorf("it does not begin with what x is:\n%s", out.String())
	}
	for _, want := range []string{"-log.level", "-dry-run", "-config", "-print-config"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

const wantReference = `# Configuration of mosbridge. Every key is optional; commented values are the
# defaults. A variable wins over this file, a flag over both.

# Unix socket that Docker calls.
# Flag -socket, variable MOS_MOSBRIDGE_SOCKET
#socket = '/run/x.sock'

# How many calls run at once, a number that the daemon's owner should choose
# with some care; more than the machine has cores seldom helps.
# Flag -limit, variable MOS_MOSBRIDGE_LIMIT
limit = 9

# Longest wait.
# Flag -wait, variable MOS_MOSBRIDGE_WAIT
#wait = '1m0s'

# Where subnets come from.
# Flag -pools, variable MOS_MOSBRIDGE_POOLS
#pools = []

# Change nothing.
# Flag -dry-run, variable MOS_MOSBRIDGE_DRY_RUN
#dry-run = false

# What is written to the log.
[log]

# debug, info, warn or error.
# Flag -log.level, variable MOS_MOSBRIDGE_LOG_LEVEL
#level = 'info'

# Where else lines go.
# Flag -log.hooks, variable MOS_MOSBRIDGE_LOG_HOOKS
#hooks = []
`

func TestPrintedConfigIsCommentedAndReadable(t *testing.T) {
	var out strings.Builder
	err := Load(Source{Name: "mosbridge", File: "/dev/null", Args: []string{"-print-config", "-limit=9"}, Out: &out}, defaults())
	if !errors.Is(err, ErrDone) {
		t.Fatal(err)
	}
	if d := cmp.Diff(wantReference, out.String()); d != "" {
		t.Error(d)
	}
	// It reads back as what it printed, also with the defaults uncommented.
	var lines []string
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "# ") {
			line = strings.TrimPrefix(line, "#")
		}
		lines = append(lines, line)
	}
	got := defaults()
	if err := Load(Source{Name: "mosbridge", File: file(t, strings.Join(lines, ""))}, got); err != nil || got.Limit != 9 {
		t.Errorf("limit %d, %v", got.Limit, err)
	}
}

type Shared struct {
	Name string `toml:"name" doc:"A name."`
}

func TestEmbeddedFieldsAreThoseOfTheStructAround(t *testing.T) {
	var got struct {
		Table struct {
			Shared
			Port int `toml:"port" doc:"A port."`
		} `toml:"table" doc:"A table."`
	}
	src := Source{Name: "x", File: file(t, "[table]\nname = 'file'\nport = 3\n"), Args: []string{"-table.port=4"}, Env: []string{"MOS_X_TABLE_NAME=env"}}
	if err := Load(src, &got); err != nil || got.Table.Name != "env" || got.Table.Port != 4 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestReferenceNeedsTags(t *testing.T) {
	if _, err := Reference("x", &struct{ A int }{}); err == nil {
		t.Error("a field without tags was taken")
	}
	if _, err := Reference("x", &struct {
		A chan int `toml:"a" doc:"A."`
	}{}); err == nil {
		t.Error("a channel was taken")
	}
	got, err := Reference("x", defaults())
	if err != nil || !strings.Contains(got, "#limit = 4\n") {
		t.Errorf("got %v\n%s", err, got)
	}
}
