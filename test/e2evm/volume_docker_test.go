package e2evm

import (
	"strings"
	"time"
)

// traces replays what Docker does to a volume driver in the course of restarts
// and crashes, see reference/volume.md 3.3: whatever it calls, nothing is taken
// from a running container and nothing stays.
func (s *system) traces() {
	s.sh("docker volume create -d mos-lvm -o size=64m tr")
	cat := func(c string) {
		s.t.Helper()
		s.want("docker exec "+c+" sh -c 'cat /data/word && awk \"\\$5==\\\"/data\\\"\" /proc/self/mountinfo | grep -c mos--'", "hello\n1")
	}
	s.sh(run("-d --name one --stop-timeout 1 --restart always -v tr:/data") + "sh -c 'echo hello >/data/word; exec sleep 100000'")
	s.sh(run("-d --name two --stop-timeout 1 -v tr:/data") + "sleep 100000")
	cat("two")
	s.sh("docker cp one:/data/word /tmp/word && docker cp /tmp/word one:/data/copied && sleep 4")
	cat("one")
	s.sh("docker stop -t 0 two && docker cp two:/data/word /tmp/word2 && docker start two && docker restart -t 0 two && sleep 4")
	cat("one")
	cat("two")
	s.t.Log("cp, stop, start and restart are done")

	s.t.Logf("dockerd starts in %v with the driver running", s.took("systemctl kill -s KILL docker && sleep 1 && systemctl reset-failed docker && systemctl start docker"))
	// Without live-restore its containers died with it; the one without a restart
	// policy is never unmounted by a call.
	s.settle(time.Minute, "docker exec one true")
	cat("one")
	s.sh("sleep 4; docker rm -f two")
	cat("one")
	s.refused("docker volume rm tr", "in use")
	s.activation()
	cat("one")

	s.sh(`mkdir -p /etc/docker && echo '{"live-restore": true}' >/etc/docker/daemon.json && systemctl reload docker && sleep 2`)
	s.want("docker info -f '{{.LiveRestoreEnabled}}'", "true")
	pid := s.sh("docker inspect -f '{{.State.Pid}}' one")
	for _, how := range []string{"systemctl kill -s KILL docker; sleep 1; systemctl reset-failed docker; systemctl start docker", "systemctl reset-failed docker; systemctl restart docker"} {
		s.sh(how)
		s.settle(time.Minute, "docker exec one true")
		s.want("docker inspect -f '{{.State.Pid}}' one", pid)
		s.sh("sleep 4; docker cp one:/data/word /tmp/word3; sleep 4")
		cat("one")
	}
	// Killed, stopped and started again, the driver takes nothing from anybody.
	s.sh("systemctl kill -s KILL mos-lvm; sleep 6; docker cp one:/data/word /tmp/word4; systemctl restart mos-lvm; sleep 6")
	cat("one")
	s.want("docker inspect -f '{{.State.Pid}}' one", pid)
	s.sh("docker rm -f one")
	s.idle()
	s.want("docker volume inspect -f '{{.Status.users}}' tr", "[]")
	s.sh("docker volume rm tr && docker volume create -d mos-lvm -o size=64m tr && docker volume rm tr && docker mos volume trash purge tr >/dev/null")
	s.sh(`rm /etc/docker/daemon.json && systemctl reload docker`)
	s.settle(time.Minute, "docker mos audit")
}

// activation starts dockerd while only the driver's socket is there.
func (s *system) activation() {
	normal := s.took("systemctl reset-failed docker; systemctl restart docker")
	s.settle(time.Minute, "docker exec one true")
	s.sh("systemctl stop mos-lvm.service && systemctl is-active mos-lvm.socket && docker exec one cat /data/word")
	if out := s.try("systemctl is-active mos-lvm.service"); !strings.Contains(out, "inactive") {
		s.t.Errorf("the service is %s", out)
	}
	late := s.took("systemctl reset-failed docker; systemctl restart docker")
	s.t.Logf("dockerd restarts in %v with the driver running, in %v when its socket starts it", normal, late)
	if late > normal+normal/2+10*time.Second {
		s.t.Error("dockerd waited for the driver")
	}
	s.sh("systemctl is-active mos-lvm.service")
	s.settle(time.Minute, "docker exec one true")
}
