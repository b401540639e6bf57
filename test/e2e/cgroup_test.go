package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// cgroups is a host whose mosd keeps settings of cgroups.
type cgroups struct {
	*lab.Host
	t *testing.T
}

func newCgroups(t *testing.T, engine rig.Engine) *cgroups {
	t.Helper()
	return startCgroups(t, lab.New(t, rig.Config{Engine: engine}).Hosts[0])
}

// startCgroups starts mosd on a host.
func startCgroups(t *testing.T, h *lab.Host) *cgroups {
	t.Helper()
	err := h.StartDaemon(rig.Daemon{Name: "mosd", Argv: []string{lab.Program(t, "mosd"), "-sets.keep=none"}, Ready: func() error {
		_, err := h.TryMos("cgroup", "ls")
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return &cgroups{h, t}
}

// file is one of a container's cgroup, by a path that this process can open.
func (c *cgroups) file(container, controller, name string) string {
	c.t.Helper()
	id := c.D("inspect", "-f", "{{.Id}}", container)
	return fmt.Sprintf("/proc/%d/root/sys/fs/cgroup/%s/docker/%s/%s", c.Holder(), controller, id, name)
}

func (c *cgroups) is(path, want string) error {
	b, err := os.ReadFile(path)
	if got := strings.TrimSpace(string(b)); err == nil && got != want {
		err = fmt.Errorf("%s is %q, want %q", path[strings.LastIndexByte(path, '/'):], got, want)
	}
	return err
}

// becomes waits until files have their values, and returns how long that took.
func (c *cgroups) becomes(what string, limit time.Duration, files map[string]string) {
	c.t.Helper()
	begin := time.Now()
	for {
		var errs []error
		for path, want := range files {
			errs = append(errs, c.is(path, want))
		}
		err := errors.Join(errs...)
		took := time.Since(begin).Round(time.Millisecond)
		if err == nil {
			c.t.Logf("%s: in force after %v", what, took)
			return
		}
		if took > limit {
			c.t.Fatalf("%s: after %v: %v", what, took, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// device is that of what a container has mounted at a path.
func (c *cgroups) device(container, path string) string {
	c.t.Helper()
	for line := range strings.Lines(c.D("exec", container, "cat", "/proc/self/mountinfo")) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == path {
			return f[2]
		}
	}
	c.t.Fatalf("%s has nothing at %s", container, path)
	return ""
}

// TestCgroupSettingsLast: settings that Docker has no option for hold through what
// would undo them, and are mended in under a second.
func TestCgroupSettingsLast(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.Engine20) {
		t.Run(string(engine), func(t *testing.T) {
			c := newCgroups(t, engine)
			c.D("run", "-d", "--name", "web", "--restart", "always", "--stop-timeout", "0", "--cpus", "0.5", "--memory", "256m", "--pids-limit", "200", rig.Image, "sleep", "100000")
			files := map[string]string{
				c.file("web", "cpu", "cpu.cfs_burst_us"):              "20000",
				c.file("web", "cpu", "cpu.shares"):                    "2048",
				c.file("web", "memory", "memory.soft_limit_in_bytes"): "67108864",
				c.file("web", "pids", "pids.max"):                     "100",
				c.file("web", "cpuset", "cpuset.cpus"):                "0",
				c.file("web", "blkio", "blkio.bfq.weight"):            "300",
			}
			before := map[string]string{}
			for f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				before[f] = strings.TrimSpace(string(b))
			}
			c.Mos("cgroup", "set", "web", "cpu.max.burst=20000", "cpu.weight=200", "memory.low=64m", "pids.max=100", "cpuset.cpus=0", "io.weight=300")
			c.becomes("set", 0, files)
			c.D("restart", "web")
			c.becomes("docker restart", time.Second, files)
			c.D("update", "--cpu-shares", "300", "--pids-limit", "150", "web")
			c.becomes("docker update", time.Second, files)
			before[c.file("web", "cpu", "cpu.shares")] = "300"
			before[c.file("web", "pids", "pids.max")] = "150"
			if err := os.WriteFile(c.file("web", "cpu", "cpu.cfs_burst_us"), []byte("0"), 0); err != nil {
				t.Fatal(err)
			}
			c.becomes("a write by hand", time.Second, files)
			if err := errors.Join(c.Stop(rig.Dockerd), c.Start(rig.Dockerd)); err != nil {
				t.Fatal(err)
			}
			c.becomes("restart of dockerd", 20*time.Second, files)
			if err := errors.Join(c.Kill9("mosd"), os.WriteFile(c.file("web", "cpu", "cpu.shares"), []byte("77"), 0), c.Start("mosd")); err != nil {
				t.Fatal(err)
			}
			c.becomes("a new mosd", time.Second, files)
			if out := c.Mos("cgroup", "ls", "--format", "{{.Target}} {{.Setting}} {{.State}}"); strings.Count(out, "web ") != 6 || strings.Count(out, " held") != 6 {
				t.Errorf("the list is\n%s", out)
			}
			if out := c.Mos("cgroup", "get", "web", "memory.low"); out != "memory.low=67108864" {
				t.Errorf("got %s", out)
			}
			if out := c.Mos("host", "events"); !strings.Contains(out, "cpu.weight of container web was changed by somebody, and is 200 again") {
				t.Errorf("the events are\n%s", out)
			}
			c.D("rename", "web", "web2")
			c.becomes("another name", 15*time.Second, map[string]string{c.file("web2", "cpu", "cpu.cfs_burst_us"): "0"})
			c.D("rename", "web2", "web")
			c.becomes("the name again", 15*time.Second, files)
			c.Mos("cgroup", "unset", "--all", "web")
			before[c.file("web", "cpu", "cpu.shares")] = "77" // what was wanted last
			c.becomes("unset", 0, before)
		})
	}
}

// TestCgroupSettingsThatCannotBe: what is wrong is said, with what to do, and nothing
// of it is in force.
func TestCgroupSettingsThatCannotBe(t *testing.T) {
	c := newCgroups(t, rig.Engine20)
	c.D("run", "-d", "--name", "web", "--stop-timeout", "0", "--cpus", "0.2", "--memory", "64m", rig.Image, "sleep", "100000")
	c.D("run", "-d", "--name", "free", "--stop-timeout", "0", rig.Image, "sleep", "100000")
	out, err := os.ReadFile(c.file("web", "cpuset", "cpuset.cpus"))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.TrimSpace(string(out))
	for _, tt := range []struct{ target, set, want string }{
		{"web", "cpu.brust=1", "did you mean cpu.max.burst?"},
		{"web", "cpu.wieght=1", "did you mean cpu.weight?"},
		{"web", "cpu.max=1", "docker update --cpus"},
		{"web", "cpu.cfs_burst_us=1", "write cpu.max.burst"},
		{"web", "cpu.max.burst=20001", "at most its quota of 20000 microseconds"},
		{"free", "cpu.max.burst=1000", "docker update --cpus first"},
		{"web", "memory.low=65m", "memory.max of cgroup"},
		{"web", "memory.low=much", "no size such as 512m"},
		{"web", "memory.high=32m", "the host's cgroups are of version 1, and version 1 only has a limit at which it kills"},
		{"web", "memory.oom.group=1", "version 1 kills one process"},
		{"web", "hugetlb.2MB.max=3m", "no whole pages of 2MB"},
		{"web", "hugetlb.2MB.max=4m", "no controller hugetlb"},
		{"web", "cpuset.mems=0-900", "the cgroup around it has"},
		{"web", "io.max=/dev/none wbps=1m", "no such file"},
		{"web", "io.max=/dev/null wbps=1m", "no block device"},
		{"web", "io.prio.class=idle", "this kernel has no blkio.prio.class"},
		{"wbe", "cpu.weight=5", "did you mean web?"},
		{"set/web", "cpu.weight=5", `no set "web"`},
		{"../web", "cpu.weight=5", "neither the name of a container nor set/NAME"},
	} {
		c.MosRefused(tt.want, "cgroup", "set", tt.target, "cpuset.cpus=0", tt.set)
		if err := c.is(c.file("web", "cpuset", "cpuset.cpus"), all); err != nil {
			t.Errorf("%s: a part is in force: %v", tt.set, err)
		}
	}
	c.MosRefused("who is idle has no weight", "cgroup", "set", "web", "cpu.weight=50", "cpu.idle=1")
	c.MosRefused("not of the form NAME=VALUE", "cgroup", "set", "web", "cpu.weight")
	c.MosRefused("no settings of its own", "cgroup", "unset", "web", "cpu.weight")
	if out, err := c.TryMos("cgroup", "ls", "--format", "json"); err != nil || out != "" {
		t.Errorf("refused settings left %s, %v", out, err)
	}
	// What is not running is given its settings at its start.
	c.D("stop", "web")
	c.Mos("cgroup", "set", "web", "cpu.weight=50")
	if out := c.Mos("cgroup", "ls", "--format", "{{.State}}"); out != "waiting" {
		t.Errorf("it is %s", out)
	}
	c.D("start", "web")
	c.becomes("start", time.Second, map[string]string{c.file("web", "cpu", "cpu.shares"): "512"})
}

// TestVolumesKeepTheirRates: what a volume was made with holds for each container that
// has it, from its start on, and goes with the volume.
func TestVolumesKeepTheirRates(t *testing.T) {
	c := startCgroups(t, lab.NewVolumes(t, rig.Config{Engine: rig.Engine20}).Hosts[0])
	c.Create("slow", "size=64m", "bps=2m", "iops=400")
	c.Create("free", "size=64m")
	c.D("run", "-d", "--name", "one", "--stop-timeout", "0", "-v", "slow:/slow", "-v", "free:/free", rig.Image, "sleep", "100000")
	c.D("run", "-d", "--name", "two", "--stop-timeout", "0", "-v", "slow:/data", rig.Image, "sleep", "100000")
	device := c.device("one", "/slow")
	for _, name := range []string{"one", "two"} {
		c.becomes("start of "+name, time.Second, map[string]string{
			c.file(name, "blkio", "blkio.throttle.read_bps_device"):   device + " 2097152",
			c.file(name, "blkio", "blkio.throttle.write_bps_device"):  device + " 2097152",
			c.file(name, "blkio", "blkio.throttle.read_iops_device"):  device + " 400",
			c.file(name, "blkio", "blkio.throttle.write_iops_device"): device + " 400",
		})
	}
	write := func(to string) time.Duration {
		begin := time.Now()
		c.D("exec", "one", "dd", "if=/dev/zero", "of="+to+"/f", "bs=256k", "count=32", "oflag=direct") // 8 MiB
		return time.Since(begin).Round(time.Millisecond)
	}
	slow, free := write("/slow"), write("/free")
	t.Logf("8 MiB at 2 MiB/s took %v, without a limit %v", slow, free)
	if slow < 3500*time.Millisecond || slow > 8*time.Second || free > slow/2 {
		t.Error("want about 4 s, and much less without a limit")
	}
	if out := c.Mos("cgroup", "ls", "--format", "{{.Target}} {{.Source}} {{.State}}"); out != "volume/slow volume held\nvolume/slow volume held" {
		t.Errorf("the list is\n%s", out)
	}
	// What is set by hand for the device comes first; the volume's comes back with unset.
	wbps := c.file("one", "blkio", "blkio.throttle.write_bps_device")
	c.Mos("cgroup", "set", "one", "io.max="+device+" wbps=4m")
	c.becomes("by hand", 0, map[string]string{wbps: device + " 4194304"})
	c.Mos("cgroup", "unset", "one", "io.max")
	c.becomes("unset", 0, map[string]string{wbps: device + " 2097152"})
	// Without mos-lvm a new mosd leaves what is in force.
	if err := errors.Join(c.Stop("mosd"), c.Stop(lab.Lvm), c.Start("mosd")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	c.becomes("without mos-lvm", 0, map[string]string{wbps: device + " 2097152"})
	if err := c.Start(lab.Lvm); err != nil {
		t.Fatal(err)
	}
	c.D("restart", "one")
	c.becomes("docker restart", 15*time.Second, map[string]string{wbps: c.device("one", "/slow") + " 2097152"})
}

// TestCgroupSettingsOfSets: of a set's file, and of a set as a whole.
func TestCgroupSettingsOfSets(t *testing.T) {
	c := startCgroups(t, lab.NewSets(t, rig.Config{Engine: rig.Engine20}).Hosts[0])
	file := func(weight string) string {
		return lab.File(t, `{"Name": "web", "CPU": 1, "MEM": "200m", "Cgroup": {"pids.max": "90", "cpu.weight": "200"}, "Network": {"Name": "none"}, "Containers": [{"Name": "app", "Image": "`+rig.Image+`",
			"Options": {"MEM": 50, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}, "Cgroup": {"cpu.weight": "`+weight+`", "memory.low": "20m"}}}]}`)
	}
	c.Set("up", file("50"))
	of := func(controller, group, name string) string {
		return fmt.Sprintf("/proc/%d/root/sys/fs/cgroup/%s/mosset.slice/mosset-web.slice/%s/%s", c.Holder(), controller, group, name)
	}
	app := c.D("inspect", "-f", "{{.Id}}", "web.app")
	files := map[string]string{
		of("cpu", app, "cpu.shares"):                    "512",
		of("memory", app, "memory.soft_limit_in_bytes"): "20971520",
		of("pids", "", "pids.max"):                      "90",
		of("cpu", "", "cpu.shares"):                     "2048",
	}
	c.becomes("docker set up", time.Second, files)
	if out := c.Mos("cgroup", "ls", "--format", "{{.Target}} {{.Setting}} {{.Source}} {{.State}}"); !strings.Contains(out, "set/web pids.max spec held") || strings.Contains(out, "web.infra") {
		t.Errorf("the list is\n%s", out)
	}
	c.Mos("cgroup", "set", "set/web", "pids.max=77", "cpu.max.burst=40000")
	files[of("pids", "", "pids.max")] = "77"
	files[of("cpu", "", "cpu.cfs_burst_us")] = "40000"
	c.becomes("of the set", 0, files)
	c.MosRefused("pids.max of cgroup /mosset.slice/mosset-web.slice is 77", "cgroup", "set", "web.app", "pids.max=78")
	c.MosRefused("give it to each container", "cgroup", "set", "set/web", "cpuset.cpus=0")
	c.Set("restart", "web")
	c.becomes("docker set restart", time.Second, files)
	c.Set("resize", "--cpus", "0.5", "web")
	c.becomes("docker set resize", time.Second, files)
	c.Set("stop", "web")
	c.Set("start", "web")
	c.becomes("docker set start", time.Second, files)
	if out, err := c.TrySet("up", file("wide")); err == nil || !strings.Contains(err.Error(), "/Containers/0/Options/Cgroup/cpu.weight: cpu.weight: \"wide\" is no number") {
		t.Errorf("a bad file: %s, %v", out, err)
	}
	c.Set("up", file("25"))
	now := c.D("inspect", "-f", "{{.Id}}", "web.app")
	if now == app {
		t.Error("the container is the old one")
	}
	c.becomes("another file", time.Second, map[string]string{of("cpu", now, "cpu.shares"): "256", of("pids", "", "pids.max"): "77"})
	c.Mos("cgroup", "unset", "--all", "set/web")
	c.becomes("unset", time.Second, map[string]string{of("pids", "", "pids.max"): "90", of("cpu", "", "cpu.cfs_burst_us"): "0", of("cpu", "", "cpu.shares"): "2048"})
	c.Set("rm", "-f", "web")
}
