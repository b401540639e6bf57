package authz_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/rig"
)

// ordinaryLife: the docker command at the guarded socket works as
// without it, and its lists show what is the tenant's.
func ordinaryLife(t *testing.T, b *bench) {
	t.Helper()
	b.guard(t, true)
	defer b.guard(t, false)
	// Both tenants use one name of a volume's kind, networks and containers.
	if out, err := b.as(t, 2000, 3000, "", "run", "-d", "--name", "theirs", "-v", "theirdata:/d", rig.Image, "sleep", "1000"); err != nil {
		t.Fatal(out, err)
	}
	b.a(t, "version")
	b.a(t, "info")
	id := b.a(t, "run", "-d", "--name", "web", "-v", "data:/data", "-v", "/anonymous", "--tmpfs", "/t", "-p", "18080:80", "-m", "64m", "-e", "A=1", rig.Image,
		"sh", "-c", "echo up; while :; do date >/data/now; sleep 1; done")
	commands := []struct {
		want string
		args []string
	}{
		{"", []string{"rename", "web", "web2"}},
		{id[:12], []string{"ps", "-q"}},
		{"a", []string{"inspect", "-f", `{{index .Config.Labels "mos.owner"}}`, "web2"}},
		{"hi", []string{"exec", "web2", "echo", "hi"}},
		{"up", []string{"logs", "web2"}},
		{"data", []string{"volume", "ls", "-q", "-f", "name=data"}},
		{"a", []string{"volume", "inspect", "-f", `{{index .Labels "mos.owner"}}`, "data"}},
		{"18080", []string{"port", "web2"}},
		{"date", []string{"top", "web2"}},
		{"hello", []string{"run", "--rm", rig.Image, "echo", "hello"}},
		{"mos-test", []string{"images"}},
		{"web2", []string{"restart", "-t", "0", "web2"}},
		{"web2", []string{"update", "-m", "96m", "--memory-swap", "96m", "web2"}},
		{"web2", []string{"pause", "web2"}},
		{"web2", []string{"unpause", "web2"}},
		{"A /t", []string{"diff", "web2"}},
		{"", []string{"network", "create", "net1"}},
		{"", []string{"network", "connect", "--alias", "w", "net1", "web2"}},
		{"web2", []string{"network", "inspect", "-f", "{{range .Containers}}{{.Name}}{{end}}", "net1"}},
		{"ok", []string{"run", "--rm", "--network", "net1", rig.Image, "sh", "-c", "ping -c1 -W3 w >/dev/null && echo ok"}},
		{"", []string{"network", "disconnect", "net1", "web2"}},
		{"beside", []string{"run", "--rm", "--network", "container:web2", rig.Image, "echo", "beside"}},
		{"sha256", []string{"commit", "web2", "a/saved"}},
		{"a/saved", []string{"images", "--format", "{{.Repository}}"}},
		{"saved", []string{"run", "--rm", "a/saved", "echo", "saved"}},
		{"", []string{"tag", "a/saved", "a/other"}},
		{"Untagged", []string{"rmi", "a/other"}},
	}
	if b.brief() { // docker is the same; what Engines could do otherwise is in the parts below
		commands = commands[:9]
	}
	for _, c := range commands {
		if out, err := b.as(t, 1000, 2000, "", c.args...); err != nil || !strings.Contains(out, c.want) {
			t.Errorf("docker %s: got %q, %v; want %q", strings.Join(c.args, " "), out, err, c.want)
		}
	}
	b.owns(t, "web2", "/anonymous")
	if out := b.a(t, "network", "ls", "-q"); !b.brief() && (strings.Contains(out, "\n") || out == "") {
		t.Errorf("networks listed are %q, want one", out)
	}
	if b.brief() { // it takes two seconds
		if out := b.a(t, "stats", "--no-stream", "--format", "{{.Name}}", "web2"); out != "web2" {
			t.Errorf("stats are of %q", out)
		}
	}
	t.Run("stdin", func(t *testing.T) { streams(t, b) })
	t.Run("copy", func(t *testing.T) { copies(t, b) })
	if b.whole() {
		t.Run("build", func(t *testing.T) { builds(t, b) })
	}
	t.Run("events", func(t *testing.T) { events(t, b) })
	t.Run("apart", func(t *testing.T) { apart(t, b) })
	if b.whole() {
		t.Run("compose", func(t *testing.T) { composes(t, b) })
	}

	b.a(t, "rm", "-f", "web2")
	for _, what := range []string{"container", "network", "volume"} {
		if out, err := b.as(t, 1000, 2000, "", what, "prune", "-f"); err != nil {
			t.Error(out, err)
		}
	}
	if out := b.a(t, "ps", "-aq"); out != "" {
		t.Errorf("left are %q", out)
	}
	ops := func(args ...string) string {
		out, err := b.as(t, 4000, 4000, "", args...)
		if err != nil {
			t.Error(err)
		}
		return out
	}
	if out := ops("ps", "--format", "{{.Names}}"); out != "theirs" {
		t.Errorf("operators see %q, want theirs", out)
	}
	if out := ops("volume", "ls", "-q"); !strings.Contains(out, "theirdata") {
		t.Errorf("operators see volumes %q", out)
	}
	ops("rm", "-f", "theirs")
}

// owns fails the test unless a container of a's has a volume of a's without a name at a path.
func (b *bench) owns(t *testing.T, container, path string) (volume string) {
	t.Helper()
	volume = b.a(t, "inspect", "-f", `{{range .Mounts}}{{if eq .Destination "`+path+`"}}{{.Name}}{{end}}{{end}}`, container)
	if out := b.a(t, "volume", "inspect", "-f", `{{index .Labels "mos.owner"}}`, volume); len(volume) != 64 || out != "a" {
		t.Errorf("volume %q belongs to %q", volume, out)
	}
	return volume
}

// streams hands standard input through, with its end.
func streams(t *testing.T, b *bench) {
	t.Helper()
	payload := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	if out := b.aWith(t, payload, "exec", "-i", "web2", "md5sum"); !strings.HasPrefix(out, md5(payload)) {
		t.Errorf("exec -i: got %q", out)
	}
	if out := b.aWith(t, payload, "run", "-i", "--rm", rig.Image, "md5sum"); !strings.HasPrefix(out, md5(payload)) {
		t.Errorf("run -i: got %q", out)
	}
}

func copies(t *testing.T, b *bench) {
	t.Helper()
	b.write(t, "/tmp/file", "content\n")
	b.a(t, "cp", "/tmp/file", "web2:/root/file")
	if out := b.a(t, "exec", "web2", "cat", "/root/file"); out != "content" {
		t.Errorf("copied in is %q", out)
	}
	b.a(t, "cp", "web2:/root/file", "-")
	// Compressed archives would be unpacked by a program of the container's.
	gz := "\x1f\x8b\x08\x00\x00\x00\x00\x00"
	code, body := b.raw(t, b.guardedSocket(), "PUT /v1.41/containers/web2/archive?path=/root HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: 8\r\n\r\n"+gz)
	if code != 400 || !strings.Contains(body, "compressed") {
		t.Errorf("a compressed archive: %d %s", code, body)
	}
}

// readsNoOthers builds, as tenant b, what has images in all ways: his own and nobody's, then a's,
// by Dockerfiles that do read them where nobody guards them.
func readsNoOthers(t *testing.T, b *bench) {
	t.Helper()
	id := b.a(t, "inspect", "-f", "{{.Id}}", "a/built")
	b.write(t, "/tmp/own/Dockerfile", "ARG V=none\nFROM "+rig.Image+" AS one\nRUN echo own >/f\nFROM one AS two\nFROM $V\nCOPY --from=two /f /g\nCOPY --from=0 /f /h\nRUN cat /g \\\n  /h\n")
	b.write(t, "/tmp/own/other/Dockerfile", "FROM b/own\nCOPY --from=b/own /g /i\n")
	b.write(t, "/tmp/own/.dockerignore", "Dockerfile\n")
	for _, args := range [][]string{
		{"-t", "b/own", "--build-arg", "V=" + rig.Image, "/tmp/own"},
		{"-t", "b/more", "--compress", "-f", "/tmp/own/other/Dockerfile", "/tmp/own"},
	} {
		if out, err := b.as(t, 2000, 3000, "", append([]string{"build", "-q"}, args...)...); err != nil {
			t.Errorf("build %q: %s, %v", args, out, err)
		}
	}
	if out, err := b.as(t, 2000, 3000, "FROM "+rig.Image+"\nRUN true\n", "build", "-q", "-"); err != nil {
		t.Errorf("build -: %s, %v", out, err)
	}
	if out, err := b.as(t, 2000, 3000, "", "run", "--rm", "b/more", "sh", "-c", "cmp /g /h && cmp /h /i && cat /i"); err != nil || out != "own" {
		t.Errorf("it has %q, %v", out, err)
	}
	b.write(t, "/tmp/trigger/Dockerfile", "FROM "+rig.Image+"\nONBUILD COPY --from=a/built /built /x\n")
	if out, err := b.as(t, 4000, 4000, "", "build", "-q", "-t", "trigger:1", "/tmp/trigger"); err != nil {
		t.Fatal(out, err)
	}
	for text, why := range map[string]string{
		"FROM a/built\nRUN cat /built\n":                                                      "belongs to a",
		"FROM " + id[7:19] + "\nRUN cat /built\n":                                             "belongs to a",
		"FROM " + rig.Image + "\nCOPY --from=a/built /built /x\nRUN cat /x\n":                 "belongs to a",
		"ARG A=a\nFROM ${A}/built\nRUN cat /built\n":                                          "belongs to a",
		"FROM trigger:1\nRUN cat /x\n":                                                        "ONBUILD",
		"FROM " + rig.Image + "\nCOPY --chown=0 \\\n  --from=a/built /built /x\nRUN cat /x\n": "two lines",
	} {
		b.write(t, "/tmp/reads/Dockerfile", text)
		if out, err := b.as(t, 4000, 4000, "", "build", "--no-cache", "/tmp/reads"); err != nil || !strings.Contains(out, "built\n") {
			t.Errorf("%q reads nothing without protection: %s, %v", text, out, err)
		}
		b.refused(t, 2000, 3000, why, "build", "--no-cache", "/tmp/reads")
	}
	b.write(t, "/tmp/absent/Dockerfile", "FROM not/here:1\n")
	b.refused(t, 2000, 3000, "docker pull it first", "build", "/tmp/absent")
	b.refused(t, 2000, 3000, "belongs to a", "build", "--cache-from", "a/built", "/tmp/own/other")
	if out, err := b.as(t, 2000, 3000, "", "rmi", "-f", "b/more", "b/own"); err != nil {
		t.Error(out, err)
	}
	if out, err := b.as(t, 4000, 4000, "", "rmi", "-f", "trigger:1"); err != nil {
		t.Error(out, err)
	}
}

func builds(t *testing.T, b *bench) {
	t.Helper()
	b.write(t, "/tmp/context/Dockerfile", "FROM "+rig.Image+"\nLABEL mos.builder=b other=1\nRUN mkdir /kept && echo built | tee /built >/kept/file\nVOLUME /kept\n")
	b.a(t, "build", "-q", "-t", "a/built", "/tmp/context")
	if out := b.a(t, "inspect", "-f", `{{index .Config.Labels "mos.builder"}}`, "a/built"); out != "a" {
		t.Errorf("the image belongs to %q", out)
	}
	if out := b.a(t, "run", "--rm", "a/built", "cat", "/built"); out != "built" {
		t.Errorf("got %q", out)
	}
	b.a(t, "run", "-d", "--name", "keeper", "-m", "64m", "a/built", "sleep", "1000")
	if out := b.a(t, "exec", "keeper", "cat", "/kept/file"); out != "built" {
		t.Errorf("the image's volume has %q", out)
	}
	volume := b.owns(t, "keeper", "/kept")
	b.a(t, "rm", "-f", "-v", "keeper")
	b.refused(t, 1000, 2000, volume, "volume", "inspect", volume)
	b.refused(t, 1000, 2000, "limits.host_namespaces", "build", "-q", "--network", "host", "/tmp/context")
	b.refused(t, 1000, 2000, "builtin: tag", "build", "-q", "-t", rig.Image, "/tmp/context")
	// BuildKit speaks gRPC on connections that are turned into others.
	b.write(t, "/tmp/kit/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
	if out, err := b.Docker("buildx", "version"); b.rig == nil && err != nil {
		t.Log("no BuildKit: this docker has none", out, err)
	} else if out, err := b.with(t, "DOCKER_BUILDKIT=1", 5000, 5000, "", "build", "-q", "-t", "ci/kit", "/tmp/kit"); err != nil || !strings.HasPrefix(out, "sha256:") {
		t.Errorf("BuildKit for profile ci: %q, %v", out, err)
	}
	if out, err := b.with(t, "DOCKER_BUILDKIT=1", 1000, 2000, "", "build", "-q", "/tmp/kit"); err == nil {
		t.Errorf("BuildKit for profile tenant: %q", out)
	}
	readsNoOthers(t, b)
	if b.brief() { // what follows is ours alone
		b.a(t, "rmi", "-f", "a/built", "a/saved")
		return
	}
	b.write(t, "/tmp/forged/Dockerfile", "FROM "+rig.Image+"\nLABEL mos.role=infra\n")
	b.a(t, "build", "-q", "-t", "a/forged", "/tmp/forged")
	b.refused(t, 1000, 2000, "limits.labels", "run", "--rm", "a/forged", "true")
	b.refused(t, 2000, 3000, "belongs to a", "run", "--rm", "a/built", "true")
	// A step of a build has all that the build was given, and no label.
	b.write(t, "/tmp/steps/Dockerfile", "FROM "+rig.Image+"\nRUN echo s3cret >/step\nRUN rm /step\n")
	b.a(t, "build", "-q", "-t", "a/steps", "/tmp/steps")
	steps := strings.Fields(b.a(t, "history", "-q", "a/steps"))
	for _, step := range steps[:len(steps)-1] { // but for the base
		b.refused(t, 2000, 3000, "belongs to ", "run", "--rm", step, "cat", "/step")
		if out, err := b.as(t, 2000, 3000, "", "images", "-a", "-q"); err != nil || strings.Contains(out, step) {
			t.Errorf("b sees step %s in %q, %v", step, out, err)
		}
	}
	// What an operator runs of a tenant's image is not the tenant's, whatever labels
	// the image has.
	b.write(t, "/tmp/owning/Dockerfile", "FROM "+rig.Image+"\nLABEL mos.owner=a\n")
	b.a(t, "build", "-q", "-t", "a/owning", "/tmp/owning")
	for _, image := range []string{"a/owning", "a/saved"} {
		if out, err := b.as(t, 4000, 4000, "", "run", "-d", "--name", "ops", image, "sleep", "1000"); err != nil {
			t.Fatal(out, err)
		}
		b.refused(t, 1000, 2000, "which is nobody's", "exec", "ops", "true")
		if out, err := b.as(t, 4000, 4000, "", "stop", "-t", "0", "ops"); err != nil {
			t.Error(out, err)
		}
		if out := b.a(t, "ps", "-a", "--format", "{{.Names}}"); strings.Contains(out, "ops") {
			t.Errorf("a sees %q", out)
		}
		b.a(t, "container", "prune", "-f") // which Engines do by the label
		if out, err := b.as(t, 4000, 4000, "", "rm", "-f", "ops"); err != nil {
			t.Error(out, err)
		}
	}
	if out, err := b.as(t, 2000, 3000, "", "images", "--format", "{{.Repository}}"); err != nil || strings.Contains(out, "a/built") || !strings.Contains(out, "mos-test") {
		t.Errorf("b sees images %q, %v", out, err)
	}
	b.a(t, "rmi", "-f", "a/built", "a/forged", "a/saved", "a/owning", "a/steps")
}

func events(t *testing.T, b *bench) {
	t.Helper()
	since := time.Now().Add(-time.Minute).Format(time.RFC3339)
	b.a(t, "run", "--rm", "--name", "seen", rig.Image, "true")
	if _, err := b.as(t, 2000, 3000, "", "run", "--rm", "--name", "unseen", rig.Image, "true"); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Second).Format(time.RFC3339)
	out := b.a(t, "events", "--since", since, "--until", until, "--format", "{{.Action}} {{.Actor.Attributes.name}}")
	if !strings.Contains(out, "start seen") || strings.Contains(out, "unseen") {
		t.Errorf("events are %q", out)
	}
}

// apart: what belongs to b is out of reach.
func apart(t *testing.T, b *bench) {
	t.Helper()
	for _, args := range [][]string{
		{"inspect", "-f", "{{.Id}}", "--type", "container", "theirs"},
		{"logs", "theirs"},
		{"exec", "theirs", "true"},
		{"rm", "-f", "theirs"},
		{"stop", "theirs"},
		{"cp", "theirs:/etc/hostname", "-"},
		{"run", "--rm", "-v", "theirdata:/x", rig.Image, "true"},
		{"volume", "rm", "theirdata"},
		{"run", "--rm", "--network", "container:theirs", rig.Image, "true"},
	} {
		b.refused(t, 1000, 2000, "belongs to b", args...)
	}
	b.refused(t, 1000, 2000, "limits.binds", "run", "--rm", "-v", "/etc:/x", rig.Image, "true")
	b.refused(t, 1000, 2000, "No such container", "stop", "missing")
	b.refused(t, 1234, 1234, "does not know you", "ps")
	if out := b.a(t, "ps", "-a", "--format", "{{.Names}}"); strings.Contains(out, "theirs") {
		t.Errorf("a sees %q", out)
	}
}

// policyChanges while it is in force: a wrong file leaves the policy before it, a
// right one comes into force by itself; the audit log tells who did what.
func policyChanges(t *testing.T, b *bench) {
	t.Helper()
	b.guard(t, true)
	b.refused(t, 1234, 1234, "does not know you", "ps")
	before, err := b.admin.Status(t.Context())
	if err != nil || before.Hash == "" {
		t.Fatalf("%+v, %v", before, err)
	}
	b.write(t, "/etc/mos/policy.toml", "version = 1\n[[who]]\nname = 'x'\nprofil = 'open'\n")
	if _, err := b.admin.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "policy.toml:4:1: there is no key who.profil") {
		t.Errorf("got %v", err)
	}
	if s, err := b.admin.Status(t.Context()); err != nil || s.Hash != before.Hash || s.Error == "" {
		t.Errorf("%+v, %v", s, err)
	}
	b.a(t, "ps")
	b.write(t, "/etc/mos/policy.toml", policyText+"[[who]]\nname = 'late'\nuid = [1234]\nprofile = 'readonly'\n")
	testx.Eventually(t, 10*time.Second, func() error {
		_, err := b.as(t, 1234, 1234, "", "ps")
		return err
	})
	if err := os.Remove(b.Path("/etc/mos/policy.toml")); err != nil {
		t.Fatal(err)
	}
	testx.Eventually(t, 10*time.Second, func() error {
		s, err := b.admin.Status(t.Context())
		if err == nil && s.Error == "" {
			err = errors.New("nobody noticed that the file is gone")
		}
		return err
	})
	b.a(t, "ps")
	// A plugin that is killed, and one without a policy: nothing goes through.
	if err := b.rig.Kill9("mos-authz"); err != nil {
		t.Fatal(err)
	}
	if err := b.rig.Start("mos-authz"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(b.guardedSocket(), 0o666); err != nil {
		t.Fatal(err)
	}
	b.refused(t, 1000, 2000, "there is no policy in force", "ps")
	if code, body := b.raw(t, b.Socket(), get("/containers/json")); code != 403 || !strings.Contains(body, "there is no policy in force") {
		t.Errorf("got %d %s", code, body)
	}
	b.write(t, "/etc/mos/policy.toml", policyText)
	if _, err := b.admin.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	b.guard(t, false)
	text, err := os.ReadFile(b.Path("/var/log/mos/authz.log"))
	if err != nil || !strings.Contains(string(text), `"who":"uid 1234"`) || !strings.Contains(string(text), `"decision":"deny","rule":"who"`) || !strings.Contains(string(text), `"subject":"late","profile":"readonly","method":"GET","path":"/v1.41/containers/json","action":"container.ls","decision":"allow"`) {
		t.Errorf("the audit log is %s, %v", text, err)
	}
	if fi, err := os.Stat(b.Path("/var/log/mos/authz.log")); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("the audit log has rights %v, %v", fi.Mode(), err)
	}
}

// setsOfATenant: docker set works at the guarded socket, and what would break
// a set is refused.
func setsOfATenant(t *testing.T, b *bench) {
	t.Helper()
	program := filepath.Join(filepath.Dir(b.mos), "docker-set")
	if err := os.Symlink(b.mos, program); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(b.mos), 0o755); err != nil {
		t.Fatal(err)
	}
	set := func(uid, gid int, args ...string) (string, error) {
		return b.run("DOCKER_HOST=unix:///run/mos/docker.sock", uid, gid, "", append([]string{program, "set"}, args...)...)
	}
	b.write(t, "/tmp/web.json", `{"Name":"web","CPU":1,"MEM":"128m","Volume":{"Driver":"local","Path":"/data"},"Containers":[{"Index":0,"Name":"app","Image":"`+rig.Image+`","Options":{"CPU":50,"MEM":50,"Command":["sleep","1000"],"Stop":{"Grace":"0s"}}}]}`)
	if out, err := set(1000, 2000, "up", "/tmp/web.json"); err == nil || !strings.Contains(err.Error(), "any docker set up of whoever runs the host loads the image") {
		t.Errorf("the first set is a tenant's: %s %v", out, err)
	}
	// An operator's first set brings the image of infra containers.
	if out, err := set(4000, 4000, "up", "/tmp/web.json"); err != nil {
		t.Fatal(out, err)
	}
	if out, err := set(4000, 4000, "rm", "-f", "-v", "web"); err != nil {
		t.Fatal(out, err)
	}
	if out, err := set(1000, 2000, "up", "/tmp/web.json"); err != nil {
		t.Fatal(out, err)
	}
	if out := b.MustDocker(t, "ps", "-a", "--filter", "label=mos.owner=a", "--filter", "label=mos.set=web", "--format", "{{.Names}}"); len(strings.Fields(out)) != 2 {
		t.Errorf("the set's containers are %q", out)
	}
	if out, err := set(1000, 2000, "ps", "web"); err != nil || !strings.Contains(out, "app") {
		t.Errorf("docker set ps: %q, %v", out, err)
	}
	if out, err := set(2000, 3000, "ls", "-q"); err != nil || out != "" {
		t.Errorf("b sees sets %q, %v", out, err)
	}
	// One in place, back, and one that the host's daemon makes again stay the tenant's.
	owner := func() string {
		return strings.TrimSpace(b.MustDocker(t, "inspect", "-f", `{{index .Config.Labels "mos.owner"}} {{.State.Running}}`, "web.app"))
	}
	b.MustDocker(t, "tag", rig.Image, "app:2")
	for _, args := range [][]string{{"update", "web", "app=app:2"}, {"rollback", "web", "app"}} {
		if out, err := set(1000, 2000, args...); err != nil || owner() != "a true" {
			t.Errorf("docker set %v: %s, %v; %s", args, out, err, owner())
		}
	}
	if out, err := set(4000, 4000, "update", "web", "app=app:2"); err != nil || owner() != "a true" {
		t.Errorf("an operator's update: %s, %v; %s", out, err, owner())
	}
	forgedLabels(t, b, set)
	for _, args := range [][]string{
		{"exec", "web.infra", "true"}, {"cp", "web.infra:/", "-"}, {"commit", "web.infra"}, {"rename", "web.infra", "x"}, {"network", "disconnect", "bridge", "web.infra"},
	} {
		b.refused(t, 1000, 2000, "builtin: infra", args...)
	}
	b.refused(t, 1000, 2000, "received 403", "attach", "--no-stdin", "web.infra") // all that docker tells of it
	b.a(t, "exec", "web.app", "true")
	if out, err := set(1000, 2000, "stop", "web"); err != nil {
		t.Error(out, err)
	}
	if out, err := set(1000, 2000, "start", "web"); err != nil {
		t.Error(out, err)
	}
	if out, err := set(1000, 2000, "rm", "-f", "-v", "web"); err != nil {
		t.Error(out, err)
	}
	if out := b.MustDocker(t, "ps", "-aq") + b.MustDocker(t, "volume", "ls", "-q", "--filter", "name=web-data"); out != "" {
		t.Errorf("left are %q", out)
	}
}

// forgedLabels: whoever heals a set makes its containers as their labels say. A tenant's
// say no more than he may.
func forgedLabels(t *testing.T, b *bench, set func(uid, gid int, args ...string) (string, error)) {
	t.Helper()
	infra := "container:" + b.id("web.infra")
	parent := strings.TrimSpace(b.MustDocker(t, "inspect", "-f", "{{.HostConfig.CgroupParent}}", "web.app"))
	args := []string{
		"create", "--name", "web.evil", "--network", infra, "--ipc", infra, "--cgroup-parent", parent, "--memory", "16m",
		"--label", "mos.set=web", "--label", "mos.role=member", "--label", "mos.member=evil", "--label", "mos.index=0", "--label", "mos.rev=1", "--label", "mos.hash=x",
		"--label", `mos.spec={"Name":"evil","Image":"` + rig.Image + `","Options":{"Command":["sleep","1000"],"Mounts":[{"Type":"bind","Source":"/","Path":"/host"}]}}`,
		rig.Image, "true",
	}
	// It works without protection, so the refusal is worth something.
	b.MustDocker(t, args...)
	if out, err := set(4000, 4000, "heal", "web"); err != nil {
		t.Fatal(out, err)
	}
	if out := b.MustDocker(t, "inspect", "-f", "{{range .Mounts}}{{.Source}}>{{.Destination}} {{end}}", "web.evil"); !slices.Contains(strings.Fields(out), "/>/host") {
		t.Fatalf("heal made a container with mounts %q", out)
	}
	b.MustDocker(t, "rm", "-f", "web.evil")
	b.refused(t, 1000, 2000, "may not be mounted", args...)
}

// composeFile is of two services, one of which is built, on a network and a volume.
const composeFile = `name: shop
services:
  web:
    build: {context: ., network: none}
    image: a/web
    command: sh -c 'echo up; while :; do date >/data/now; sleep 1; done'
    volumes: [data:/data]
    networks: {front: {aliases: [site]}}
    ports: ["18082:80"]
    depends_on: [db]
    stop_grace_period: 0s
  db:
    image: ` + rig.Image + `
    command: sleep 1000
    networks: [front]
    stop_grace_period: 0s
networks: {front: {}}
volumes: {data: {}}
`

// composes: docker compose at the guarded socket works as without it.
func composes(t *testing.T, b *bench) {
	t.Helper()
	testx.Need(t, testx.Compose)
	program, err := os.ReadFile(filepath.Join(testx.ComposeDir(), "docker-compose"))
	if err != nil {
		t.Fatal(err)
	}
	const plugin = "/tmp/docker-1000/cli-plugins/docker-compose"
	b.write(t, plugin, string(program))
	if err := os.Chmod(b.Path(plugin), 0o755); err != nil {
		t.Fatal(err)
	}
	b.write(t, "/tmp/shop/compose.yaml", composeFile)
	b.write(t, "/tmp/shop/Dockerfile", "FROM "+rig.Image+"\nRUN echo built >/built\n")
	compose := func(args ...string) string {
		t.Helper()
		out, err := b.as(t, 1000, 2000, "", append([]string{"compose", "--progress", "plain", "-f", "/tmp/shop/compose.yaml"}, args...)...)
		if err != nil {
			t.Errorf("docker compose: %v", err)
		}
		return out
	}
	compose("build")
	compose("up", "-d")
	web := compose("ps", "-q", "web")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"web running", []string{"ps", "--format", "{{.Service}} {{.State}}"}},
		{"built", []string{"exec", "-T", "web", "cat", "/built"}},
		{"ok", []string{"exec", "-T", "db", "sh", "-c", "ping -c1 -W5 site >/dev/null && echo ok"}},
		{"up", []string{"logs", "web"}},
		{"sleep 1000", []string{"top", "db"}},
		{"a/web", []string{"images"}},
		{"", []string{"restart", "db"}},
		{"once", []string{"run", "--rm", "-T", "db", "echo", "once"}},
		{"", []string{"up", "-d", "--scale", "db=2"}},
		{"18082", []string{"port", "web", "80"}},
		{"built", []string{"cp", "web:/built", "-"}},
		{"running(3)", []string{"ls"}},
		{"", []string{"stop"}},
		{"", []string{"start"}},
		{"", []string{"up", "-d"}}, // which ends the second db
		{web, []string{"ps", "-q", "web"}},
	} {
		if out := compose(c.args...); !strings.Contains(out, c.want) {
			t.Errorf("docker compose %s: got %q, want %q", strings.Join(c.args, " "), out, c.want)
		}
	}
	compose("down", "-v")
	b.a(t, "rmi", "a/web")
	if out := b.a(t, "ps", "-aq", "-f", "name=shop") + b.a(t, "volume", "ls", "-q", "-f", "name=shop") + b.a(t, "network", "ls", "-q", "-f", "name=shop"); out != "" || web == "" {
		t.Errorf("left are %q", out)
	}
}

// sharesHold at the guarded socket, and the docker command tells so.
func sharesHold(t *testing.T, b *bench) {
	t.Helper()
	b.write(t, "/etc/mos/policy.toml", policyText+`
[[who]]
name = "greedy"
uid = [1234]
profile = "few"
[[who]]
name = "crowd"
uid = [1235]
profile = "one"
[profile.few]
based = "tenant"
limits = {requests = 0.05, burst = 4}
[profile.one]
based = "tenant"
limits = {connections = 1}
`)
	if _, err := b.admin.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 5 { // each takes two requests
		if _, err = b.as(t, 1234, 1234, "", "ps"); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "Error response from daemon: mos-authz: too many requests: 0.05 a second, 4 at once are the share of user 1234 of this socket (limits.requests): try again in ") {
		t.Errorf("requests beyond the share: got %v", err)
	}
	out, err := b.run("DOCKER_HOST=unix:///run/mos/docker.sock", 1235, 1235, "", "sh", "-c",
		`docker events >/dev/null & trap "kill $!" EXIT; for i in $(seq 100); do docker ps 2>&1 | grep "^Error" && exit; sleep .1; done; exit 1`)
	if err != nil || !strings.HasPrefix(out, "Error response from daemon: mos-authz: too many connections: user 1235 has 1 open, ") {
		t.Errorf("connections beyond the share: got %q, %v", out, err)
	}
	b.a(t, "ps")
	b.write(t, "/etc/mos/policy.toml", policyText)
	if _, err := b.admin.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}
