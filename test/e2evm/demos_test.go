package e2evm

import (
	"context"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/vm"
)

// TestDemonstrations runs what docs/demonstrations.md offers, on LVM and with cgroups of
// version 2; each fails when a promise is not kept. Then systemd ends a hang.
func TestDemonstrations(t *testing.T) {
	long(t, "demos")
	s := install(t, vm.Config{})
	s.sh("systemctl enable --now mosd && mos-lvm init /dev/disk/by-id/virtio-pv0")
	s.MustCopy(t, "../../demos", "/opt/mos/demos")
	for _, demo := range []string{"oom", "hang", "io"} {
		t.Run(demo, func(t *testing.T) {
			const limit = 20 * time.Minute // of an emulated machine on a busy host
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			out, errs, err := s.Run(ctx, "IMAGE=mos-test:1 /opt/mos/demos/"+demo)
			t.Log("\n" + out)
			if err != nil {
				t.Errorf("%v: %s", err, errs)
			}
		})
	}
	t.Run("restart", s.in(t).restartsDocker)
	s.want("docker ps -aq | wc -l", "0")
	s.settle(2*time.Minute, "docker mos audit")
	s.want("ls /var/lib/mos/mosd/cgroup | wc -l", "0")
}

// restartsDocker has systemd restart a dockerd that hangs, while a container goes on.
func (s *system) restartsDocker(t *testing.T) {
	s = s.in(t)
	s.sh(`echo '{"live-restore": true}' >/etc/docker/daemon.json
cat >/etc/mos/mosd.toml <<'END'
[sets.restart]
command = ["systemctl", "restart", "docker"]
after = "10s"
END
systemctl reload docker && systemctl restart mosd`)
	const engine = "curl -sf --unix-socket /run/mos/mosd.sock http://mosd/v1/status | grep -q "
	s.settle(2*time.Minute, engine+`'"live_restore":"on"'`)
	s.sh("docker run -d --name web mos-test:1 sleep 100000")
	const web = "docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' web"
	before, dockerd := s.sh(web), s.sh("pidof dockerd")
	s.sh("kill -STOP " + dockerd)
	s.settle(5*time.Minute, "docker mos host events | grep -q 'the Engine was restarted in'")
	s.settle(2*time.Minute, engine+`'"state":"well"'`)
	s.want(web, before)
	if now := s.sh("pidof dockerd"); now == dockerd {
		t.Errorf("dockerd is the one that hung, %s", dockerd)
	}
	t.Log(s.sh("docker mos host events"))
	s.sh("docker rm -f web && rm /etc/docker/daemon.json /etc/mos/mosd.toml && systemctl reload docker && systemctl restart mosd")
	s.settle(time.Minute, "docker mos host status -q")
}
