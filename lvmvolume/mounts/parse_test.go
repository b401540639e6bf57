package mounts

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseReadsEveryField(t *testing.T) {
	const text = `22 27 0:21 / /proc rw,relatime shared:12 - proc none rw
312 27 7:4096 /_data /a\040b\134c rw,nodev,noatime master:1 propagate_from:2 - ext4 /dev/loop4096 rw,errors=remount-ro
313 27 254:16 / /x ro - xfs /dev/mapper/vg-a rw,nouuid
314 27 0:9 net:[4026531833] /run/netns/a\011b rw - nsfs none rw
`
	got, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []Mount{
		{22, 27, Dev{0, 21}, "/", "/proc", "rw,relatime", 12, "proc", "none", "rw"},
		{312, 27, Dev{7, 4096}, "/_data", `/a b\c`, "rw,nodev,noatime", 0, "ext4", "/dev/loop4096", "rw,errors=remount-ro"},
		{313, 27, Dev{254, 16}, "/", "/x", "ro", 0, "xfs", "/dev/mapper/vg-a", "rw,nouuid"},
		{314, 27, Dev{0, 9}, "net:[4026531833]", "/run/netns/a\tb", "rw", 0, "nsfs", "none", "rw"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got[1].ReadOnly() || !got[2].ReadOnly() {
		t.Error("read-only is another one's")
	}
}

func TestParseRefusesWhatTheKernelDoesNotWrite(t *testing.T) {
	for _, line := range []string{"", "a b", "22 27 0:21 / /proc rw - proc", "x 27 0:21 / /proc rw - proc none rw", "22 27 21 / /proc rw - proc none rw", "22 27 0:21 / /proc rw proc none rw"} {
		if got, err := Parse(line + "\n"); err == nil {
			t.Errorf("%q: got %+v", line, got)
		}
	}
}

func TestTopIsTheMountOnWhichNoOtherLies(t *testing.T) {
	a, b, c := Mount{ID: 9, Parent: 1, Point: "/m"}, Mount{ID: 5, Parent: 9, Point: "/m"}, Mount{ID: 7, Parent: 5, Point: "/m/sub"}
	for _, order := range [][]Mount{{a, b, c}, {b, c, a}, {c, b, a}} {
		if m, ok := top(order, "/m"); !ok || m.ID != 5 {
			t.Errorf("got %+v, want 5", m)
		}
	}
	if m, ok := top([]Mount{a}, "/n"); ok {
		t.Errorf("got %+v", m)
	}
}

func TestContainerIsFoundInEveryFormOfCgroup(t *testing.T) {
	id, inner := strings.Repeat("0123456789abcdef", 4), strings.Repeat("f", 64)
	for text, want := range map[string]string{
		"0::/system.slice/docker-" + id + ".scope\n":                                id,
		"0::/mos.slice/mos-web.slice/docker-" + id + ".scope\n":                     id,
		"12:memory:/docker/" + id + "\n11:cpu,cpuacct:/docker/" + id + "\n0::/\n":   id,
		"13:name=systemd:/docker/" + id + "/docker/" + inner + "\n":                 id,
		"0::/mos/web/" + id + "\n":                                                  id,
		"0::/docker/" + id + "/init.scope\n":                                        id,
		"0::/../../docker/" + id + "\n":                                             id,
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n":  id,
		"0::/machine.slice/libpod-" + id + ".scope/container\n":                     id,
		"1:name=systemd:/user.slice\n0::/user.slice/user-0.slice/session-1.scope\n": "",
		"0::/system.slice/docker.service\n":                                         "",
		"0::/docker/" + id[:63] + "g\n":                                             "",
		"0::/docker/" + id + "0\n":                                                  "",
		"nonsense":                                                                  "",
		"":                                                                          "",
	} {
		if got := containerOf(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	if b, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		f.Add(string(b))
	}
	f.Add(`1 2 3:4 /\ /\0 rw - a b c`)
	f.Fuzz(func(t *testing.T, text string) {
		ms, err := Parse(text)
		if err != nil {
			return
		}
		for _, m := range ms {
			if m.Dev.String() == "" || len(m.Point) > len(text) {
				t.Errorf("got %+v of %q", m, text)
			}
		}
		top(ms, "/")
	})
}

func FuzzContainer(f *testing.F) {
	f.Add("0::/docker-" + strings.Repeat("a", 64) + ".scope")
	f.Fuzz(func(t *testing.T, text string) {
		if id := containerOf(text); id != "" && (len(id) != 64 || !strings.Contains(text, id)) {
			t.Errorf("got %q", id)
		}
	})
}
