package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/adminapi"
	"github.com/mosdocker/mosdocker/internal/xexec"
	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
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

// searchBridge looks for what mosbridge left on a host.
func searchBridge(t *testing.T, h host) (found []adminapi.Finding, blind []error) {
	t.Helper()
	for _, look := range newApp(h).bridge.looks {
		fs, err := look(t.Context())
		found = append(found, fs...)
		if err != nil {
			blind = append(blind, err)
		}
	}
	return found, blind
}

func TestSearchFindsOursOnly(t *testing.T) {
	h, run := bareHost(t,
		[]string{"lo", "eth0", "mosp0123456789a", "mosc0123456789a", "mosgabcdef01234", "mosbr0", "mosquito", "mospxyz"},
		map[string]string{
			"list Interface": "mosp0123456789a\nmosrabcdef01234\n\neth1\n",
			"find Bridge":    "mosbr0\n",
			"nft list":       "table inet filter\ntable inet mosbridge\n",
		})
	found, blind := searchBridge(t, h)
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
	if found, blind := searchBridge(t, h); len(found)+len(blind) != 0 {
		t.Errorf("found %v, blind %v", found, blind)
	}
}

func TestSearchSaysWhereItCannotLook(t *testing.T) {
	h, run := bareHost(t, []string{"lo"}, nil)
	run.Answer = func(c xexec.Cmd) ([]byte, error) {
		// Some programs name themselves, some do not.
		by := map[string]string{"nft": "nft: "}[c.Argv[0]]
		return nil, &xexec.Error{Argv: c.Argv, Code: 1, Stderr: by + "Operation not permitted"}
	}
	_, blind := searchBridge(t, h)
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
	for _, c := range newApp(h).bridge.examineWithout(t.Context(), hinted(errors.New("it is gone"), "start it")) {
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

// put writes files of a host.
func put(t *testing.T, h host, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(h.root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// mosOn runs docker mos on a host whose daemons do not answer.
func mosOn(t *testing.T, h host, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	for _, variable := range []string{"MOS_BRIDGE_SOCKET", "MOS_LVM_ADMIN"} {
		t.Setenv(variable, "")
	}
	a := newApp(h)
	a.bridge.usual = filepath.Join(h.root, a.bridge.usual)
	// The socket of mos-lvm is looked for below the host's root, which a client
	// does not know.
	a.lvm.dial = func(socket string) *lvm.Client { return lvm.New(filepath.Join(h.root, socket)) }
	cmd := a.command()
	var out, remarks strings.Builder
	cmd.SetOut(&out)
	cmd.SetErr(&remarks)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), remarks.String(), err
}

const mountinfo = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n" +
	"90 22 7:3 / /var/lib/mos/mos-lvm/mnt/v1 rw,noatime shared:9 - ext4 /dev/loop3 rw\n" +
	"91 22 253:4 /_data /var/lib/mos/mos-lvm/mnt/v2 rw - xfs /dev/mapper/mos-v2 rw\n" +
	"92 22 7:4 / /var/lib/mos/mos-lvm-other/mnt/v3 rw - ext4 /dev/loop4 rw\n"

func TestAuditSearchesForVolumesWithoutMosLVM(t *testing.T) {
	h, _ := bareHost(t, []string{"lo"}, nil)
	put(t, h, map[string]string{
		"proc/self/mountinfo":               mountinfo,
		"sys/block/loop3/loop/backing_file": "/var/lib/mos/mos-lvm/images/v1\n",
		"sys/block/loop4/loop/backing_file": "/home/user/disk.img\n",
		"sys/block/loop5/size":              "0",
		"sys/block/loop6/loop/backing_file": "/var/lib/mos/mos-lvm/images/elsewhere\n",
		"sys/block/loop7/loop/backing_file": "/var/lib/mos/mos-lvm/images/v7 (deleted)\n",
		"var/lib/mos/mos-lvm/images/v1":     "",
	})
	out, remarks, err := mosOn(t, h, "audit")
	want := "KIND          OBJECT                        DETAIL\n" +
		"mount         /var/lib/mos/mos-lvm/mnt/v1   ext4 of /dev/loop3 is mounted\n" +
		"mount         /var/lib/mos/mos-lvm/mnt/v2   xfs of /dev/mapper/mos-v2 is mounted\n" +
		"loop device   /dev/loop3                    image /var/lib/mos/mos-lvm/images/v1 is attached\n" +
		"loop device   /dev/loop7                    image /var/lib/mos/mos-lvm/images/v7 (deleted) is attached\n"
	if diff := cmp.Diff(want, out); diff != "" || !errors.Is(err, errBadNews) {
		t.Error(diff, err)
	}
	for _, words := range []string{"mos-lvm does not run", "the recycle bin are not looked at", "hint: start mos-lvm with systemctl start mos-lvm"} {
		if !strings.Contains(remarks, words) {
			t.Errorf("%q is not said in:\n%s", words, remarks)
		}
	}
}

func TestMosLVMThatWasNeverInstalledIsNotSpokenOf(t *testing.T) {
	h, _ := bareHost(t, []string{"lo"}, nil)
	put(t, h, map[string]string{"proc/self/mountinfo": "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"})
	out, remarks, err := mosOn(t, h, "audit")
	if err != nil || out != "" || strings.Contains(remarks, "lvm") || !strings.HasSuffix(remarks, "docker mos: nothing of mosbridge is on this host\n") {
		t.Errorf("audit: %v\n%s%s", err, out, remarks)
	}
	out, remarks, err = mosOn(t, h, "version")
	if err != nil || !strings.HasSuffix(out, "mos-lvm:    not installed here\n") || strings.Contains(remarks, "lvm") {
		t.Errorf("version: %v\n%s%s", err, out, remarks)
	}
	if _, _, err = mosOn(t, h, "doctor"); err == nil || errors.Is(err, errBadNews) {
		t.Errorf("doctor of a host without any daemon: %v", err)
	}
	put(t, h, map[string]string{"var/lib/mos/mosbridge/state.db": ""})
	out, remarks, err = mosOn(t, h, "doctor")
	if !errors.Is(err, errBadNews) || strings.Contains(out, "lvm") || !strings.HasPrefix(remarks, "docker mos: mos-lvm is not installed here\n") {
		t.Errorf("doctor: %v\n%s%s", err, out, remarks)
	}
}

func TestExamineOfMosLVMNamesWhatIsMissing(t *testing.T) {
	h, _ := bareHost(t, nil, map[string]string{"lvm version": "  LVM version:     2.03.16(2)\n  Library version: 1.02.185\n", "mkfs.ext4": ""})
	put(t, h, map[string]string{"sys/class/misc/loop-control/dev": "10:237"})
	out, remarks, err := mosOn(t, h, "volume", "doctor", "--format", "{{.Name}}: {{.Result}}, {{.Detail}}")
	if !errors.Is(err, errBadNews) {
		t.Error(err)
	}
	for _, want := range []string{
		"mos-lvm answers: FAILED", "lvm is installed: ok, LVM version: 2.03.16(2)", "mkfs.ext4 is installed: ok",
		"the kernel has device-mapper or loop devices: ok, loop devices only",
		"docker's plugin socket is there: FAILED, /run/docker/plugins/mos-lvm.sock is missing\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	for _, want := range []string{
		"hint: mos-lvm makes /run/docker/plugins/mos-lvm.sock when it starts; until then calls of docker that need mos-lvm wait up to 15 s and fail\n",
		"hint: start docker: systemctl start docker, or make up in the source tree\n",
	} {
		if !strings.Contains(remarks, want) {
			t.Errorf("%q is not in:\n%s", want, remarks)
		}
	}
}

func TestNoSocketIsTheUsualOne(t *testing.T) {
	h, _ := bareHost(t, nil, nil)
	_, _, err := mosOn(t, h, "net", "--socket=", "ls")
	if want := h.root + "/run/mos/mosbridge.sock is missing"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
