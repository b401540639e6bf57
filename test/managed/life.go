package managed

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// What the plugins are called on the host.
const (
	Net    = "mosbridge:latest"
	Volume = "mos-lvm:latest"
)

// settings are short times, so that tests need not wait.
func (l *Life) settings(plugin string) string {
	if plugin == "mosbridge" {
		return "MOS_MOSBRIDGE_GRACE=2s MOS_MOSBRIDGE_INTERVAL=2s MOS_MOSBRIDGE_LOG_LEVEL=debug"
	}
	return "MOS_LVM_LINGER=" + l.Linger + " MOS_LVM_INTERVAL=2s MOS_LVM_LOG_LEVEL=debug"
}

// parted is the line that ends what the mounts of a process share with the host.
const parted = `perl -e 'open F, "</proc/$ARGV[0]/ns/mnt" or die $!; syscall(308, fileno(F), 0) == 0 or die $!; # setns
my ($none, $at) = ("", "/propagated-mount");
for my $how (1 << 18, 1 << 20) { syscall(165, $none, $at, $none, $how, $none) == 0 or die $! } # mount, private and shared again'`

// names are the plugins, in the order of their installation.
func names() []string { return []string{"mosbridge", "mos-lvm"} }

// Life is a host on which the plugins live.
type Life struct {
	// Sh runs a line as root on the host and returns its output without the white
	// space around it. The error has what the line said.
	Sh func(line string) (string, error)
	// Registry has the plugins, under the tags that are installed.
	Registry string
	// Mos is the command line of docker mos.
	Mos string
	// Sees says why the container web does not have the volume data at /data.
	Sees func() error
	// Linger is that of volumes. Thirty of them must be enough for a container to start.
	Linger string
	// Limit is how long the host may take to be back at work.
	Limit time.Duration
	// TB is the test.
	TB testing.TB
}

// Must runs a line, which must succeed.
func (l *Life) Must(line string) string {
	l.TB.Helper()
	out, err := l.Sh(line)
	if err != nil {
		l.TB.Fatalf("%s: %v", line, err)
	}
	return out
}

// Refused runs a line, which must fail with want in its words.
func (l *Life) Refused(want, line string) {
	l.TB.Helper()
	out, err := l.Sh(line)
	if err == nil {
		l.TB.Fatalf("%s: was taken, want a refusal with %q: %s", line, want, out)
	}
	if !strings.Contains(err.Error(), want) {
		l.TB.Errorf("%s: refused with %v, want %q", line, err, want)
	}
}

// Step is a part of a life: what fails in it ends the test.
func (l *Life) Step(name string, f func()) {
	l.TB.Helper()
	start := time.Now()
	f()
	l.TB.Logf("%s: %v", name, time.Since(start).Round(10*time.Millisecond))
}

// Install installs both plugins under a tag.
func (l *Life) Install(tag string) {
	l.TB.Helper()
	l.Must("mkdir -p /var/lib/mos")
	for _, p := range names() {
		l.Must("docker plugin install --grant-all-permissions --alias " + p + " " + l.Registry + "/" + p + ":" + tag + " " + l.settings(p))
	}
	if out := l.Must("docker plugin inspect -f '{{.Settings.Env}}' " + Volume); !strings.Contains(out, "MOS_LVM_LINGER="+l.Linger) {
		l.TB.Errorf("the settings are %s", out)
	}
}

// Start starts two containers on both drivers.
func (l *Life) Start() {
	l.TB.Helper()
	testx.Eventually(l.TB, l.Limit, func() error { // an emulated machine's Open vSwitch may be slower than the plugin waits
		_, err := l.Sh("docker network create -d " + Net + " --ipam-driver " + Net + " --subnet 10.9.0.0/24 red")
		return err
	})
	l.Must("docker volume create -d " + Volume + " -o size=64m data")
	for _, run := range []string{"web --ip 10.9.0.21 -p 8080:7000 -v data:/data", "cli"} {
		l.Must("docker run -d --network red --restart always --name " + run + " mos-test:1 netcheck serve :7000")
	}
	l.Must("docker exec web sh -c 'echo kept >/data/file && sync'")
	l.Works()
}

// Works fails the test unless the containers talk and the volume is there.
func (l *Life) Works() {
	l.TB.Helper()
	testx.Eventually(l.TB, l.Limit, func() error {
		if out, err := l.Sh("docker inspect -f '{{.State.Running}}' web cli"); err != nil {
			return err
		} else if strings.Count(out, "true") != 2 {
			return fmt.Errorf("whether the containers run is %q", out)
		}
		_, err := l.Sh("docker exec cli ping -c1 -W3 10.9.0.21 && for p in tcp udp; do docker exec cli netcheck send $p 10.9.0.21:7000 131072 || exit; done")
		return err
	})
	if out := l.Must("docker exec web cat /data/file"); out != "kept" {
		l.TB.Errorf("the volume has %q", out)
	}
	if out, err := l.Sh("docker run --rm -v data:/data mos-test:1 cat /data/file"); err != nil || out != "kept" {
		l.TB.Errorf("a new container sees in the volume %q, %v", out, err)
	}
	if err := l.Sees(); err != nil {
		l.TB.Error(err)
	}
	if out := l.Must("docker plugin ls --format '{{.Name}} {{.Enabled}}'"); !strings.Contains(out, Net+" true") || !strings.Contains(out, Volume+" true") {
		l.TB.Errorf("the plugins are %q", out)
	}
	if out := l.Must("docker volume ls --format '{{.Driver}} {{.Name}}'"); out != Volume+" data" {
		l.TB.Errorf("the volumes are %q", out)
	}
}

// Same fails the test if the containers were started again by what f does.
func (l *Life) Same(f func()) {
	l.TB.Helper()
	const started = "docker inspect -f '{{.State.StartedAt}}' web cli"
	before := l.Must(started)
	f()
	l.Works()
	if after := l.Must(started); after != before {
		l.TB.Errorf("containers were started again: %s, %s", before, after)
	}
}

// Killed is both plugins' daemons killed, and the plugins themselves, and what a killed
// dockerd may do at its next start to the mounts of a plugin that it starts again.
func (l *Life) Killed() {
	l.TB.Helper()
	l.Step("daemons-killed", func() {
		l.Same(func() { // twice at once, by which Docker disables a plugin that ends
			l.Must("for i in 1 2; do pkill -9 -x mosbridge && pkill -9 -x mos-lvm && sleep 0.25 || exit; done")
		})
	})
	l.Step("plugins-killed", func() { l.Same(func() { l.Must("pkill -9 -x keep && sleep 1") }) })
	l.Step("mounts-taken-off", func() {
		l.Must(parted + " $(pgrep -x mos-lvm) && umount -l /var/lib/docker/plugins/*/propagated-mount")
		l.Works()
	})
}

// Upgraded changes both plugins for another tag while containers run: by force, since
// they are in use.
func (l *Life) Upgraded(tag string) {
	l.TB.Helper()
	upgrade := func(p string) string {
		return "docker plugin upgrade --skip-remote-check --grant-all-permissions " + p + " " + l.Registry + "/" + p + ":" + tag
	}
	l.Step("in-use", func() {
		for _, p := range names() {
			l.Refused("in use", "docker plugin disable "+p)
			l.Refused("must be disabled", upgrade(p))
		}
		l.Refused("active plugin", "docker plugin set mos-lvm MOS_LVM_LINGER=2s")
	})
	l.Step("upgrade", func() {
		l.Same(func() {
			for p, setting := range map[string]string{"mosbridge": "MOS_MOSBRIDGE_LOG_LEVEL=info", "mos-lvm": "MOS_LVM_LOG_LEVEL=info"} {
				l.Must("docker plugin disable -f " + p + " && " + upgrade(p) + " && docker plugin set " + p + " " + setting + " && docker plugin enable " + p)
			}
		})
		if out := l.Must("for f in /var/lib/docker/plugins/*/rootfs/etc/tag; do cat $f && echo; done"); out != tag+"\n"+tag {
			l.TB.Errorf("after the upgrade the plugins have versions %q, want %s", out, tag)
		}
	})
}

// Gone takes all away by the docker command, and looks what is left.
func (l *Life) Gone() {
	l.TB.Helper()
	l.Must("docker rm -f web cli && docker network rm red && docker volume rm data && " + l.Mos + " volume trash purge --force data")
	testx.Eventually(l.TB, l.Limit, func() error { _, err := l.Sh(l.Mos + " audit"); return err })
	for _, p := range names() {
		l.Must("docker plugin disable " + p + " && docker plugin rm " + p)
	}
	for what, line := range map[string]string{
		"plugins":            "docker plugin ls -q",
		"images":             "ls -A /var/lib/mos/mos-lvm/loop 2>/dev/null || true",
		"bridges":            "ovs-vsctl --no-wait list-br",
		"rules":              "nft list tables | grep mosbridge || true",
		"folders of plugins": "ls /run/docker/plugins /var/lib/docker/plugins | grep -xE '[0-9a-f]{64}' || true",
		"mounts":             "grep propagated-mount /proc/self/mountinfo || true",
	} {
		if out := l.Must(line); out != "" {
			l.TB.Errorf("%s are left: %s", what, out)
		}
	}
}
