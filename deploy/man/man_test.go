package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// programs are scripts that tell what a help tells; each is asked as the real ones are.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range daemons() {
		script(d, `case $1 in
-h) printf '`+d+`: what it is\n\n`+d+` [FLAG...]   serves\n`+d+` init        makes; -h tells more\n\nAll else. Flags:\n\n  -a.b value\n    \tdescribed\n  -c\n    \tends -- well\n' ;;
*) [ "$*" = "init -h" ] && printf '`+d+` init makes a thing:\n\n  `+d+` init -size 20g   "here"\n\n  -pool string\n    \tpart of it (default "80%%")\n' >&2 ;;
esac
`)
	}
	script("docker-mos", `case $* in
"mos --help" | "set --help") printf "Usage:  docker $1 [OPTIONS] COMMAND\n\nAll of $1\n\nOptions:\n  -s, --socket string   Where it\n                        is (default \"/x\")\n      --odd             It is\n\nManagement Commands:\n  net         Networks\n\nRun 'docker $1 COMMAND --help' for more\n" ;;
*" net --help") printf "Usage:  docker $1 net\n\nNetworks.\n\n.dots at the \\\\beginning\n\nExamples:\ndocker $1 net one\ndocker $1 net two\n" ;;
*) exit 1 ;;
esac
`)
	return dir
}

// TestPagesTellWhatHelpTells, word for word, commands of commands too.
func TestPagesTellWhatHelpTells(t *testing.T) {
	pages := t.TempDir()
	if err := writeAll(t.Context(), programs(t), pages); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"man8/mos-lvm.8": {
			".TH MOS\\-LVM 8", ".SH NAME\nmos\\-lvm \\- what it is\n.SH DESCRIPTION", ".EX\nmos\\-lvm [FLAG...]   serves\n", ".TP\n\\fB\\-a.b\\fR \\fIvalue\\fR\ndescribed\n",
			".TP\n\\fB\\-c\\fR\nends \\-\\- well\n", ".SH MOS\\-LVM INIT\n", ".EX\n  mos\\-lvm init \\-size 20g   \\(dqhere\\(dq\n.EE", ".TP\n\\fB\\-pool\\fR \\fIstring\\fR\npart of it (default \\(dq80%\\(dq)\n",
		},
		"man1/docker-mos.1": {
			".SH NAME\ndocker\\-mos \\- All of mos\n", ".SH SYNOPSIS\n.PP\ndocker mos [OPTIONS] COMMAND\n", ".TP\n\\fB\\-s, \\-\\-socket\\fR \\fIstring\\fR\nWhere it is (default \\(dq/x\\(dq)\n",
			".TP\n\\fB\\-\\-odd\\fR\nIt is\n", ".SH MANAGEMENT COMMANDS\n.TP\n\\fBdocker\\-mos\\-net(1)\\fR\nNetworks\n",
		},
		"man1/docker-set-net.1": {
			".SH NAME\ndocker\\-set\\-net \\- Networks\n", "\n\\&.dots at the \\ebeginning\n", ".EX\ndocker set net one\ndocker set net two\n.EE", ".SH SEE ALSO\n.PP\ndocker\\-set(1)\n",
		},
	} {
		got, err := os.ReadFile(filepath.Join(pages, name))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range want {
			if !strings.Contains(string(got), w) {
				t.Errorf("%s has no\n%s\nin\n%s", name, w, got)
			}
		}
	}
	var names []string
	for _, s := range []string{"man1", "man8"} {
		all, err := os.ReadDir(filepath.Join(pages, s))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			names = append(names, f.Name())
		}
	}
	if want := []string{"docker-mos-net.1", "docker-mos.1", "docker-set-net.1", "docker-set.1", "mos-authz.8", "mos-lvm.8", "mos-scheduler.8", "mosbridge.8", "mosd.8"}; !slices.Equal(names, want) {
		t.Errorf("got pages %q, want %q", names, want)
	}
}

// TestAProgramWithoutHelpIsNamed, instead of an empty page.
func TestAProgramWithoutHelpIsNamed(t *testing.T) {
	dir := programs(t)
	for name, text := range map[string]string{"mosd": "echo other", "mos-authz": "exit 2"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	err := writeAll(t.Context(), dir, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "mosd") || !strings.Contains(err.Error(), "mos-authz") {
		t.Errorf("got %v", err)
	}
}
