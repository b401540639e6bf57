package authz_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/test/rig"
)

// namesHold: an Engine takes the networks of a container by their names when it starts
// it, and by a NetworkID that the client gave before them.
func namesHold(t *testing.T, b *bench) {
	t.Helper()
	create := func(socket, name, body string) int {
		code, text := b.raw(t, socket, post(createURI+"?name="+name, appJSON, body))
		if code >= 400 {
			t.Logf("%s: %d %s", name, code, text)
		}
		return code
	}
	joined := func(name string) bool {
		out, err := b.Docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.NetworkID}} {{end}}", name)
		return err == nil && strings.Contains(out, b.netID("theirs-net"))
	}
	b.MustDocker(t, "network", "create", "--label", "mos.owner=b", "theirs-net")
	b.MustDocker(t, "network", "create", "--label", "mos.owner=a", "mine-net")
	by := `{"Image":"` + rig.Image + `","Cmd":["sleep","1000"],"Labels":{"mos.owner":"a"},"HostConfig":{"NetworkMode":"mine-net"},"NetworkingConfig":{"EndpointsConfig":{"mine-net":{"NetworkID":"theirs-net"}}}}`
	create(b.Socket(), "byid", by)
	if _, err := b.Docker("start", "byid"); err != nil || !joined("byid") {
		t.Errorf("without protection a NetworkID is not heeded: %v", err)
	}
	b.MustDocker(t, "rm", "-f", "byid")
	if code := create(b.guardedSocket(), "byid", by); code != http.StatusForbidden {
		t.Errorf("a container by another's NetworkID: %d", code)
	}
	if out, err := b.as(t, 1000, 2000, "", "network", "create", "abc"); err == nil {
		t.Errorf("a network is named like the beginning of an id: %s", out)
	}
	// The name of a's network is another's when the container starts.
	late := strings.Replace(by, `,"NetworkingConfig":{"EndpointsConfig":{"mine-net":{"NetworkID":"theirs-net"}}}`, "", 1)
	exchange := func(name string) {
		if code := create(b.guardedSocket(), name, late); code != http.StatusCreated {
			t.Fatalf("%s is not made: %d", name, code)
		}
		b.MustDocker(t, "network", "rm", "mine-net", "theirs-net")
		b.MustDocker(t, "network", "create", "--label", "mos.owner=b", "mine-net")
	}
	exchange("late")
	b.refused(t, 1000, 2000, "network mine-net, which belongs to b", "start", "late")
	b.guard(t, true)
	if code, text := b.raw(t, b.Socket(), post("/v1.41/containers/late/start", "text/plain", "")); code != http.StatusForbidden || !strings.Contains(text, "belongs to b") {
		t.Errorf("the plugin lets it start: %d %s", code, text)
	}
	b.guard(t, false)
	if _, err := b.Docker("start", "late"); err != nil {
		t.Errorf("without protection it does not start: %v", err)
	}
	b.MustDocker(t, "rm", "-f", "late")
	b.MustDocker(t, "network", "rm", "mine-net")

	// Docker answers the making of a volume that is there with that volume.
	b.MustDocker(t, "volume", "create", "--label", "mos.owner=b", "--label", "secret=word", "theirs-vol")
	b.refused(t, 1000, 2000, "which belongs to b", "volume", "create", "theirs-vol")
	b.a(t, "volume", "create", "mine-vol")
	b.a(t, "volume", "create", "mine-vol")
	b.a(t, "volume", "rm", "mine-vol")
	b.MustDocker(t, "volume", "rm", "theirs-vol")

	if _, err := b.as(t, 1000, 2000, "", "inspect", "nothing"); err == nil || !strings.Contains(strings.ToLower(err.Error()), "no such object: nothing") {
		t.Errorf("inspect of nothing: %v", err)
	}
	b.guard(t, true)
	out, err := b.run("X=", 0, 0, "", "docker", "-H", "unix:///run/docker.sock", "inspect", "nothing")
	if err == nil || !strings.Contains(strings.ToLower(err.Error()), "no such object: nothing") {
		t.Errorf("inspect of nothing with the plugin: %s %v", out, err)
	}
	b.guard(t, false)
}

func (b *bench) netID(name string) string {
	id, err := b.Docker("network", "inspect", "-f", "{{.Id}}", name)
	if err != nil {
		return "missing"
	}
	return id
}
