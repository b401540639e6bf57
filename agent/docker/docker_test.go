package docker

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDirsComeFromConfigurationThenTheEnginesThenDefaults(t *testing.T) {
	for _, tt := range []struct {
		in   Dirs
		json string
		want Dirs
	}{
		{Dirs{}, "", Dirs{"/var/lib/docker", "/run/docker"}},
		{Dirs{}, `{"data-root": "/d", "exec-root": "/e"}`, Dirs{"/d", "/e"}},
		{Dirs{Root: "/mine"}, `{"data-root": "/d"}`, Dirs{"/mine", "/run/docker"}},
		{Dirs{}, `{"graph": "/old"}`, Dirs{"/old", "/run/docker"}},
		{Dirs{}, `{broken`, Dirs{"/var/lib/docker", "/run/docker"}},
	} {
		if got := tt.in.FindDirs([]byte(tt.json)); got != tt.want {
			t.Errorf("%+v %s: got %+v, want %+v", tt.in, tt.json, got, tt.want)
		}
	}
}

func TestContainersAreKnownByTheirFiles(t *testing.T) {
	d := Dirs{Root: t.TempDir()}
	if d.Stamp("c1") != (Stamp{}) {
		t.Error("a container that is not there has a stamp")
	}
	put(t, d.Root+"/containers/c1/config.v2.json", `{"ID":"c1","Name":"/web","State":{"Running":true,"Pid":7,"StartedAt":"2026-11-02T10:00:00.5Z"},
		"Config":{"Image":"shop/app:41","Labels":{"mos.set":"shop"}},
		"MountPoints":{"/data":{"Source":"/var/lib/mos/mnt/x/_data","Destination":"/data","Name":"x","Driver":"mos-lvm","Type":"volume"},
			"/etc/app":{"Source":"/srv/app","Type":"bind"}}}`)
	if _, err := d.Read("c1"); err == nil {
		t.Error("half of the files is enough")
	}
	put(t, d.Root+"/containers/c1/hostconfig.json", `{"NetworkMode":"container:abc"}`)
	got, err := d.Read("c1")
	want := Container{
		Name: "web", Running: true, Image: "shop/app:41", Labels: map[string]string{"mos.set": "shop"}, SharesNet: true,
		Started: time.Date(2026, 11, 2, 10, 0, 0, 5e8, time.UTC), Volumes: []Volume{{"x", "/var/lib/mos/mnt/x/_data", "mos-lvm"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	put(t, d.Root+"/containers/c1/config.v2.json", `{"ID":`)
	if _, err := d.Read("c1"); err == nil || !strings.Contains(err.Error(), "config.v2.json") {
		t.Errorf("a broken file is read: %v", err)
	}
}

func TestPidsOfDeadProcessesAreNotBelieved(t *testing.T) {
	d, id := Dirs{Exec: t.TempDir()}, strings.Repeat("c1", 32) // no folder is named so by chance
	// This process is in no container, so state that names it is old.
	put(t, d.Exec+"/runtime-runc/moby/"+id+"/state.json", `{"init_process_pid":`+strconv.Itoa(os.Getpid())+`}`)
	if pid := d.Pid(id, ""); pid != 0 {
		t.Errorf("got %d", pid)
	}
	if pid := d.Pid(id, "42\n43\n"); pid != 42 {
		t.Errorf("got %d, want the first of the cgroup", pid)
	}
	// The id of a process that lives there is: all cgroups are of /.
	b, err := exec.Command("cat", "/proc/self/cgroup").Output()
	if err != nil || !strings.Contains(string(b), "/") {
		t.Skip("no cgroups")
	}
	put(t, d.Exec+"/containerd/daemon/io.containerd.runtime.v2.task/moby/:/init.pid", strconv.Itoa(os.Getpid()))
	if pid := d.Pid(":", "42\n"); pid != os.Getpid() {
		t.Errorf("got %d, want this process", pid)
	}
}
