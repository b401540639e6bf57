package e2evm

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/vm"
)

// units are what both ways of installing set up.
const (
	sockets  = "mosbridge.socket mos-lvm.socket mos-authz.socket"
	services = "mosbridge.service mos-lvm.service mos-authz.service mosd.service"
)

// debPackage builds the Debian package.
func debPackage(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../deploy/deb", t.TempDir()).CombinedOutput()
	if err != nil {
		t.Fatalf("deploy/deb: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestDebianPackage is made twice alike, owns what it installs by root, and lintian finds
// no error in it.
func TestDebianPackage(t *testing.T) {
	testx.Need(t, testx.VM) // the ring of packages
	deb := debPackage(t)
	a, aerr := os.ReadFile(deb)
	b, berr := os.ReadFile(debPackage(t))
	if err := errors.Join(aerr, berr); err != nil || !bytes.Equal(a, b) {
		t.Errorf("two builds of one commit differ: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), "dpkg-deb", "-c", deb).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); f[1] != "root/root" || strings.ContainsAny(f[0][5:], "w") && f[0][0] != 'l' {
			t.Errorf("others own or may write: %s", line)
		}
	}
	manualPages(t, deb)
	if _, err := exec.LookPath("lintian"); err != nil {
		t.Log("lintian is not installed")
		return
	}
	if out, err := exec.CommandContext(t.Context(), "lintian", "--allow-root", "--fail-on=error", deb).CombinedOutput(); err != nil {
		t.Errorf("lintian: %v: %s", err, out)
	}
}

// here runs a program on this machine.
func here(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", argv, err, out)
	}
	return string(out)
}

// manualPages are there for each program, with each flag of its help.
func manualPages(t *testing.T, deb string) {
	t.Helper()
	dir := t.TempDir()
	here(t, "dpkg-deb", "-x", deb, dir)
	docker := dir + "/usr/libexec/docker/cli-plugins/"
	flag := regexp.MustCompile(`(?m)^ +(?:-\w, )?(--?[\w.-]+)`)
	for page, line := range map[string]string{
		"man8/mosbridge.8": dir + "/usr/bin/mosbridge -h", "man8/mos-authz.8": dir + "/usr/bin/mos-authz -h", "man8/mosd.8": dir + "/usr/bin/mosd -h",
		"man8/mos-lvm.8":                  dir + "/usr/bin/mos-lvm -h; " + dir + "/usr/bin/mos-lvm init -h 2>&1",
		"man8/mos-scheduler.8":            "for c in '' token cert 'cert revoke' backup restore simulate; do " + dir + "/usr/bin/mos-scheduler $c -h; done",
		"man1/docker-mos-volume-create.1": docker + "docker-mos mos volume create --help", "man1/docker-set-up.1": docker + "docker-set set up --help",
	} {
		help := here(t, "sh", "-c", line)
		text := here(t, "zcat", dir+"/usr/share/man/"+page+".gz")
		flags := flag.FindAllStringSubmatch(help, -1)
		if len(flags) < 3 {
			t.Errorf("%s: %s", line, help)
		}
		for _, f := range flags {
			if !strings.Contains(text, strings.ReplaceAll(f[1], "-", `\-`)+`\fR`) {
				t.Errorf("%s has no %s", page, f[1])
			}
		}
	}
}

// fails runs a line, which must fail with a word.
func (s *system) fails(word, line string) {
	s.t.Helper()
	out, errs, err := s.Run(s.t.Context(), line)
	if err == nil || !strings.Contains(out+errs, word) {
		s.t.Errorf("%s: got %v, %s %s, want a failure with %q", line, err, out, errs, word)
	}
}

// up waits for all units and the container.
func (s *system) up() {
	s.t.Helper()
	s.settle(time.Minute, "systemctl is-active "+sockets+" "+services+" >/dev/null && docker mos net ps | grep -q 10.9.0.21")
	s.sh("systemctl is-enabled " + sockets + " " + services + " mos-set-caps.service")
	s.want("docker exec web cat /data/file", "kept")
	s.settle(time.Minute, "systemctl is-active mos-scheduler && docker set host ls --format '{{.State}}' | grep -q active && docker set service ls --format '{{.Name}} {{.State}}' | grep -q 'svc ready'")
}

// scheduled makes the machine one that places services, by its unit, and places one.
func (s *system) scheduled() {
	s.t.Helper()
	s.want("systemctl is-enabled mos-scheduler || true", "disabled") // it is not for every host
	s.sh("systemctl enable --now mos-scheduler")
	s.want("stat -c %a /var/lib/mos/scheduler", "700")
	s.settle(time.Minute, "docker set host ls --format '{{.State}}' | grep -q active")
	s.sh(`echo '{"Name": "svc", "CPU": 0.1, "MEM": "32m", "Containers": [{"Name": "app", "Image": "mos-test:1", "Options": {"CPU": 80, "MEM": 80, "Command": ["sleep", "1000000"], "Stop": {"Grace": "0s"}}}]}' >/root/svc.json && docker set service create -f /root/svc.json`)
}

// down looks that nothing runs or lies there, that the container goes on, and that the
// data is there.
func (s *system) down() {
	s.t.Helper()
	s.want("pgrep -x 'mosbridge|mos-lvm|mos-authz|mosd|mos-scheduler' || true", "")
	// The VM has units of its own that begin with mos-.
	s.want("ls -d /run/docker/plugins/mos* /run/mos /usr/bin/mos* /usr/local/bin/mos* /usr/lib/systemd/system/mos[bd]* /usr/lib/systemd/system/mos-[als]* "+
		"/etc/systemd/system/mos[bd]* /etc/systemd/system/mos-[als]* /usr/libexec/docker/cli-plugins/docker-mos /usr/local/lib/docker/cli-plugins/* "+
		"/usr/local/share/man/man1/docker-mos* /usr/local/share/man/man1/docker-set* /usr/local/share/man/man8/mos* 2>/dev/null || true", "")
	s.want("systemctl list-units --no-legend --failed 'mos*'", "")
	s.want("docker exec web cat /data/file", "kept")
	s.sh("docker exec web ping -c 1 -W 5 10.9.0.1")
	s.sh("test -s /var/lib/mos/mosbridge/mosbridge.db && ls /var/lib/mos/mos-lvm/loop/*.img")
}

// TestTheBundleComesAndGoes: make install, make uninstall, and the Debian package,
// while a container runs on both drivers.
func TestTheBundleComesAndGoes(t *testing.T) {
	long(t, "hosts")
	testx.Need(t, testx.VM)
	deb := debPackage(t)
	s := install(t, vm.Config{})
	s.MustCopy(t, deb, "/root/"+filepath.Base(deb))
	deb = "/root/" + filepath.Base(deb)
	s.sh("systemctl enable --now mosd")
	s.sh("docker network create -d mosbridge --ipam-driver mosbridge --subnet 10.9.0.0/24 red && docker volume create -d mos-lvm -o size=64m data")
	s.sh("docker run -d --name web --restart always --network red --ip 10.9.0.21 -v data:/data mos-test:1 sh -c 'echo kept >/data/file; sync; exec netcheck serve :7000'")
	s.scheduled()
	s.up()
	both := "docker inspect -f '{{.State.StartedAt}}' web svc-1.app"
	started := s.sh(both)

	t.Log("make uninstall")
	s.fails("make uninstall", "dpkg -i "+deb)
	s.sh(`echo '{"authorization-plugins": ["mos-authz"]}' >/etc/docker/daemon.json`)
	s.fails("authorization-plugins", "/opt/mos/deploy/install --remove")
	s.sh("rm /etc/docker/daemon.json && /opt/mos/deploy/install --remove && rm -r /etc/mos/*")
	s.down()
	s.sh("/opt/mos/deploy/install --remove") // again: nothing to do

	t.Log("the package")
	s.sh("dpkg -i " + deb)
	s.want("systemctl is-enabled mos-scheduler || true", "disabled")
	s.sh("systemctl enable --now mos-scheduler")
	s.up()
	s.fails("mosdocker", "/opt/mos/deploy/install")
	s.sh("docker exec web netcheck send tcp 10.9.0.21:7000 1048576 && docker run --rm --network red -v data:/data mos-test:1 cat /data/file")
	s.want("stat -c %U:%G:%a /run/docker/plugins/mosbridge.sock", "root:docker:660")
	s.sh("getent group mos")

	t.Log("an upgrade")
	old := s.sh("systemctl show -P MainPID mos-scheduler")
	s.sh("echo '# ours' >>/etc/mos/policy.toml && systemctl disable --now mosd && dpkg -i " + deb)
	if now := s.sh("systemctl show -P MainPID mos-scheduler"); now == old {
		t.Errorf("the mos-scheduler of before the upgrade runs on as process %s", old)
	}
	s.want("systemctl is-enabled mosd || true", "disabled")
	s.want("tail -1 /etc/mos/policy.toml", "# ours")
	s.sh("systemctl enable --now mosd")
	s.up()

	t.Log("removal, and again")
	s.sh(`echo '{"authorization-plugins": ["mos-authz"]}' >/etc/docker/daemon.json`)
	s.fails("authorization-plugins", "dpkg -r mosdocker")
	s.sh("rm /etc/docker/daemon.json")
	if out := s.sh("dpkg -r mosdocker"); !strings.Contains(out, "/var/lib/mos") {
		t.Errorf("removal does not say where the data is: %s", out)
	}
	s.down()
	s.want("tail -1 /etc/mos/policy.toml", "# ours")
	s.sh("dpkg -i " + deb)
	s.up()
	if now := s.sh(both); now != started {
		t.Errorf("containers were started at %s and %s", started, now)
	}

	t.Log("purge")
	s.sh("docker set service rm svc && docker rm -f web && docker network rm red && docker volume rm data && docker mos volume trash purge --force data")
	s.settle(time.Minute, "docker mos audit")
	if out := s.sh("dpkg -P mosdocker"); !strings.Contains(out, "is not purged") {
		t.Errorf("purge does not say what stays: %s", out)
	}
	s.want("ls -d /etc/mos/* /var/log/mos /etc/systemd/system/*.wants/mos[bd]* /etc/systemd/system/*.wants/mos-[als]* /var/lib/systemd/deb-systemd-helper-enabled/*/mos* 2>/dev/null || true", "")
	s.want("dpkg-query -W mosdocker 2>/dev/null || true", "")
}
