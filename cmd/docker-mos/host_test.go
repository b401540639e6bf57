package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// bareHost is a host with these links, whose tools answer by their first words.
func bareHost(t *testing.T, links []string, tools map[string]string) (host, *xexec.Fake) {
	t.Helper()
	root := t.TempDir()
	for _, l := range links {
		if err := os.MkdirAll(filepath.Join(root, "sys/class/net", l), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := &xexec.Fake{Answer: func(c xexec.Cmd) ([]byte, error) {
		for words, out := range tools {
			if strings.Contains(c.String(), words) {
				return []byte(out), nil
			}
		}
		return nil, &xexec.Error{Argv: c.Argv, Code: -1, Err: exec.ErrNotFound}
	}}
	return host{root: root, run: run}, run
}

func TestSearchFindsOursOnly(t *testing.T) {
	h, run := bareHost(t,
		[]string{"lo", "eth0", "mosp0123456789a", "mosc0123456789a", "mosgabcdef01234", "mosbr0", "mosquito", "mospxyz"},
		map[string]string{
			"list Interface": "mosp0123456789a\nmosrabcdef01234\n\neth1\n",
			"find Bridge":    "mosbr0\n",
			"nft list":       "table inet filter\ntable inet mosbridge\n",
		})
	found, blind := h.search(t.Context())
	var got []string
	for _, f := range found {
		got = append(got, f.Kind+" "+f.Object)
	}
	want := []string{
		"link mosc0123456789a", "link mosgabcdef01234", "link mosp0123456789a",
		"port mosp0123456789a", "port mosrabcdef01234", "bridge mosbr0", "rules table inet mosbridge",
	}
	if diff := cmp.Diff(want, got); diff != "" || blind != nil {
		t.Error(diff, blind)
	}
	for _, line := range run.Lines() {
		if !strings.Contains(line, "list") && !strings.Contains(line, "find") {
			t.Errorf("%s may change the host", line)
		}
	}
}

func TestSearchOfACleanHost(t *testing.T) {
	h, _ := bareHost(t, []string{"lo"}, nil)
	if found, blind := h.search(t.Context()); len(found)+len(blind) != 0 {
		t.Errorf("found %v, blind %v", found, blind)
	}
}

func TestSearchSaysWhereItCannotLook(t *testing.T) {
	h, run := bareHost(t, []string{"lo"}, nil)
	run.Answer = func(c xexec.Cmd) ([]byte, error) {
		return nil, &xexec.Error{Argv: c.Argv, Code: 1, Stderr: "Operation not permitted"}
	}
	_, blind := h.search(t.Context())
	got := errors.Join(blind...).Error()
	if want := "ovs-vsctl: Operation not permitted\nnft: Operation not permitted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExamineNamesWhatIsDown(t *testing.T) {
	h, _ := bareHost(t, []string{"lo"}, map[string]string{"ovs_version": "\"3.1.0\"\n"})
	if err := os.MkdirAll(filepath.Join(h.root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range h.examine(t.Context(), hinted(errors.New("it is gone"), "start it")) {
		result := "ok"
		if !c.OK {
			result = "FAILED"
			if c.Hint == "" {
				t.Errorf("%s fails without a hint", c.Name)
			}
		}
		got = append(got, c.Name+": "+result)
	}
	want := []string{
		"mosbridge answers: FAILED", "unit mosbridge.service runs: FAILED", "docker's plugin socket is there: FAILED",
		"docker's socket is there: FAILED", "open vswitch answers: ok",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
