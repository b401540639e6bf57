package authz_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/test/rig"
)

// attack is a request that gives its sender more than a tenant may have. It works
// when the Engine answers with a status below 400.
type attack struct {
	name string
	text func(b *bench) string
	// until is the first Engine's version that does not fall for it; 0 is none yet.
	until int
	// rights says that it works when the container that it made is privileged.
	rights bool
}

func fixed(text string) func(*bench) string { return func(*bench) string { return text } }

const (
	createURI = "/v1.41/containers/create"
	appJSON   = "application/json"
	evil      = `{"Image":"` + rig.Image + `","Labels":{"mos.owner":"a"},"HostConfig":{"Privileged":true}}`
)

// host is a body of a container with one entry of HostConfig.
func hostBody(entry string) string {
	return `{"Image":"` + rig.Image + `","Labels":{"mos.owner":"a"},"HostConfig":{` + entry + `}}`
}

func chunked(uri, contentType, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", uri, contentType, len(body), body)
}

// spellings are ways to write "create a privileged container".
func spellings() []attack {
	out := []attack{
		{name: "plain", text: fixed(post(createURI, appJSON, evil))},
		{name: "no version", text: fixed(post("/containers/create", appJSON, evil))},
		{name: "version with three parts", text: fixed(post("/v1.41.0/containers/create", appJSON, evil))},
		{name: "version with zeros", text: fixed(post("/v01.041/containers/create", appJSON, evil))},
		{name: "absolute form", text: fixed(post("http://x/v1.41/containers/create", appJSON, evil))},
		{name: "escaped c", text: fixed(post("/v1.41/containers/%63reate", appJSON, evil))},
		{name: "escaped containers", text: fixed(post("/v1.41/%63ontainers/create", appJSON, evil))},
		{name: "escaped slash", text: fixed(post("/v1.41/containers%2Fcreate", appJSON, evil))},
		{name: "unused parameter", text: fixed(post(createURI+"?x=/auth", appJSON, evil))},
		{name: "charset", text: fixed(post(createURI, "application/json; charset=utf-8", evil))},
		{name: "upper case type", text: fixed(post(createURI, "APPLICATION/JSON", evil))},
		{name: "chunked", text: fixed(chunked(createURI, appJSON, evil))},
		{name: "two types", text: fixed(strings.Replace(post(createURI, appJSON, evil), "Content-Length", "Content-Type: text/plain\r\nContent-Length", 1))},
		{name: "key twice", text: fixed(post(createURI, appJSON, strings.Replace(evil, `"HostConfig"`, `"HostConfig":{"Privileged":false},"HostConfig"`, 1)))},
		{name: "key in lower case", text: fixed(post(createURI, appJSON, strings.Replace(evil, `"HostConfig"`, `"hostconfig"`, 1)))},
		{name: "inner key in lower case", text: fixed(post(createURI, appJSON, strings.Replace(evil, `"Privileged"`, `"privileged"`, 1)))},
		{name: "long s", text: fixed(post(createURI, appJSON, strings.Replace(evil, `"HostConfig"`, "\"Ho\u017ftConfig\"", 1)))},
		{name: "escaped key", text: fixed(post(createURI, appJSON, strings.Replace(evil, `"HostConfig"`, `"\u0048ostConfig"`, 1)))},
		{name: "second document", text: fixed(post(createURI, appJSON, evil+`{"Image":"x"}`)), until: 26},
		{name: "top level", text: fixed(post(createURI, appJSON, `{"Image":"`+rig.Image+`","Labels":{"mos.owner":"a"},"Privileged":true}`)), until: 29},
		{name: "version 1.12", text: fixed(post("/v1.12/containers/create", appJSON, evil)), until: 26},
		{name: "larger than a MiB", text: fixed(post(createURI, appJSON, strings.Replace(evil, `"Image"`, `"Env":["X=`+strings.Repeat("x", 1100<<10)+`"],"Image"`, 1)))},
	}
	for i := range out {
		out[i].rights = true
	}
	return out
}

// others are further ways out of a tenancy. web.infra is the infra container of a
// tenant's own set, theirs a container of another's.
func others() []attack {
	out := []attack{
		{name: "form renames", text: func(b *bench) string {
			return post("/v1.41/containers/theirs/rename?name=fine", "application/x-www-form-urlencoded", "name=theirs2")
		}},
		{name: "id prefix", text: func(b *bench) string {
			return post("/v1.41/containers/"+b.id("theirs")[:4]+"/exec", appJSON, `{"Cmd":["sh"]}`)
		}},
		{name: "websocket", text: func(*bench) string {
			return "GET /v1.41/containers/theirs/attach/ws?stream=1&stdin=1 HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
		}},
		{name: "start with rights", text: func(*bench) string {
			return post("/v1.23/containers/idle/start", appJSON, `{"Binds":["/etc:/h"]}`)
		}, until: 26},
		{name: "disable the plugin", text: fixed(get("/v1.41/plugins"))},
		{name: "archive of another's", text: fixed(get("/v1.41/containers/theirs/archive?path=/etc/hostname"))},
		{name: "export of another's", text: fixed(get("/v1.41/containers/theirs/export"))},
		{name: "logs of another's", text: fixed(get("/v1.41/containers/theirs/logs?stdout=1"))},
		{name: "list without filter", text: fixed(get("/v1.41/system/df"))},
		{name: "volume of the host", text: fixed(post("/v1.41/volumes/create", appJSON, `{"Name":"x1","Labels":{"mos.owner":"a"},"DriverOpts":{"type":"none","o":"bind","device":"/etc"}}`))},
		{name: "bridge of a chosen name", text: fixed(post("/v1.41/networks/create", appJSON, `{"Name":"x1","Driver":"bridge","Labels":{"mos.owner":"a"},"Options":{"com.docker.network.bridge.name":"evil0"}}`))},
		{name: "exec in infra", text: fixed(post("/v1.41/containers/web.infra/exec", appJSON, `{"Cmd":["sh"]}`))},
		{name: "rename of infra", text: fixed(post("/v1.41/containers/web.infra/rename?name=free", "text/plain", ""))},
		{name: "privileged exec", text: fixed(post("/v1.41/containers/idle2/exec", appJSON, `{"Cmd":["sh"],"Privileged":true}`))},
		{name: "update of another's", text: fixed(post("/v1.41/containers/theirs/update", appJSON, `{"Memory":20000000,"MemorySwap":-1}`))},
		{name: "commit of another's", text: fixed(post("/v1.41/commit?container=theirs", appJSON, `null`))},
		{name: "named like an id", text: fixed(post(createURI+"?name=abcdef", appJSON, hostBody("")))},
	}
	for name, entry := range map[string]string{
		"bind": `"Binds":["/etc:/h"]`, "bind mount": `"Mounts":[{"Type":"bind","Source":"/etc","Target":"/h"}]`,
		"mounts merge":    `"Mounts":[{"Type":"bind","Source":"/etc","Target":"/x"}],"Mounts":[{"Target":"/h"}]`,
		"driver's device": `"Mounts":[{"Type":"volume","Target":"/h","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"type":"none","o":"bind","device":"/etc"}}}}]`,
		"capability":      `"CapAdd":["SYS_ADMIN"]`, "capability in lower case": `"CapAdd":["cap_sys_admin"]`, "pid": `"PidMode":"host"`, "ipc": `"IpcMode":"host"`, "uts": `"UTSMode":"host"`, "network": `"NetworkMode":"host"`,
		"join": `"NetworkMode":"container:theirs"`, "join pid": `"PidMode":"container:theirs"`, "volumes from": `"VolumesFrom":["theirs"]`,
		"seccomp colon": `"SecurityOpt":["seccomp:unconfined"]`, "seccomp": `"SecurityOpt":["seccomp=unconfined"]`, "device": `"Devices":[{"PathOnHost":"/dev/kmsg","PathInContainer":"/dev/kmsg","CgroupPermissions":"rwm"}]`,
		"device rules": `"DeviceCgroupRules":["a *:* rwm"]`, "cgroup parent": `"CgroupParent":"system.slice"`, "unmasked": `"MaskedPaths":[]`, "writable proc": `"ReadonlyPaths":[]`,
		"shield": `"OomScoreAdj":-500`, "low port": `"PortBindings":{"80/tcp":[{"HostPort":"22"}]}`, "another's volume": `"Binds":["theirs-data:/h"]`,
	} {
		out = append(out, attack{name: name, text: fixed(post(createURI, appJSON, hostBody(entry)))})
	}
	return out
}

func (b *bench) id(name string) string {
	id, err := b.Docker("inspect", "-f", "{{.Id}}", name)
	if err != nil {
		return "missing"
	}
	return id
}

// privileged says whether the container is that an answer is about.
func (b *bench) privileged(tb testing.TB, answer string) bool {
	tb.Helper()
	var made struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal([]byte(answer), &made); err != nil {
		return false
	}
	code, text := b.raw(tb, b.Socket(), get("/containers/"+made.ID+"/json"))
	return code == http.StatusOK && strings.Contains(text, `"Privileged":true`)
}

// containers are the ids of all, in order.
func (b *bench) containers(tb testing.TB) []string {
	tb.Helper()
	return slices.Sorted(slices.Values(strings.Fields(b.MustDocker(tb, "ps", "-aq"))))
}

// furnish makes what the attacks are about.
func furnish(t *testing.T, b *bench) {
	t.Helper()
	run := func(name, owner string, more ...string) {
		b.MustDocker(t, append(append([]string{"run", "-di", "--name", name, "--label", "mos.owner=" + owner}, more...), rig.Image, "sleep", "1000")...)
	}
	b.MustDocker(t, "volume", "create", "--label", "mos.owner=b", "theirs-data")
	run("theirs", "b", "-v", "theirs-data:/data", "--ipc", "shareable")
	run("web.infra", "a", "--label", "mos.role=infra", "--label", "mos.set=web")
	run("idle2", "a")
	b.MustDocker(t, "create", "--name", "idle", "--label", "mos.owner=a", rig.Image, "sleep", "1000")
}

// attacksFail: each attack that an Engine falls for is refused by the plugin,
// by the guarded socket, and by both together.
func attacksFail(t *testing.T, b *bench) {
	t.Helper()
	attacks := append(spellings(), others()...)
	try := func(socket string) map[string]int {
		codes := map[string]int{}
		for _, a := range attacks {
			codes[a.name], _ = b.raw(t, socket, a.text(b))
		}
		return codes
	}
	furnish(t, b)
	ids := b.containers(t)
	works := map[string]bool{}
	for _, a := range attacks {
		code, body := b.raw(t, b.Socket(), a.text(b))
		works[a.name] = code > 0 && code < 400 && (!a.rights || b.privileged(t, body))
		if falls := a.until == 0 || b.major < a.until; works[a.name] != falls {
			t.Errorf("%s without protection: %d %.300s; want it to work: %v", a.name, code, body, falls)
		}
		if strings.Contains(a.name, "rename") { // as it was, for those that follow
			_, _ = b.Docker("rename", "theirs2", "theirs")
			_, _ = b.Docker("rename", "free", "web.infra")
		}
	}
	made := slices.DeleteFunc(b.containers(t), func(id string) bool { return slices.Contains(ids, id) })
	b.MustDocker(t, append([]string{"rm", "-f"}, made...)...)

	for _, a := range attacks { // the guarded socket alone
		if code, body := b.raw(t, b.guardedSocket(), a.text(b)); code < 400 {
			t.Errorf("%s goes through the guarded socket: %d %.300s", a.name, code, body)
		}
	}
	b.guard(t, true)
	for name, code := range try(b.Socket()) {
		if code < 400 {
			t.Errorf("%s goes through the plugin: %d", name, code)
		}
	}
	for name, code := range try(b.guardedSocket()) {
		if code < 400 {
			t.Errorf("%s goes through both: %d", name, code)
		}
	}
	b.guard(t, false)
	if now := b.containers(t); !slices.Equal(now, ids) {
		t.Errorf("containers were %q and are %q", ids, now)
	}
	for _, name := range []string{"theirs", "web.infra"} {
		if b.id(name) == "missing" {
			t.Errorf("%s was renamed", name)
		}
	}
	n := 0
	for _, w := range works {
		if w {
			n++
		}
	}
	t.Logf("%d of %d attacks work on this Engine without protection, none with it", n, len(attacks))
	b.MustDocker(t, append([]string{"rm", "-f"}, ids...)...)
	b.MustDocker(t, "network", "rm", "x1")
	b.MustDocker(t, "volume", "rm", "x1", "theirs-data")
}

// h2c asks a socket by gRPC over HTTP/2 without TLS.
func h2c(socket string) (string, error) {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &p, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodPost, "http://docker/moby.buildkit.v1.Control/Info", bytes.NewReader(make([]byte, 5)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Trailer.Get("Grpc-Status") + resp.Header.Get("Grpc-Status"), err
}

// noGRPC passes the guarded socket; new Engines ask no plugin about it.
func noGRPC(t *testing.T, b *bench) {
	t.Helper()
	b.guard(t, true)
	if status, err := h2c(b.Socket()); err != nil || status != "0" {
		t.Errorf("the Engine's own socket, past its plugin: got status %q, %v: has it learnt to ask?", status, err)
	}
	if status, err := h2c(b.guardedSocket()); err == nil {
		t.Errorf("the guarded socket answers gRPC with status %q", status)
	}
	for _, text := range []string{
		"POST /v1.41/session HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
		"POST /v1.41/grpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
		"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
	} {
		if code, body := b.raw(t, b.guardedSocket(), text); code != http.StatusForbidden {
			t.Errorf("%.40s: got %d %s", text, code, body)
		}
	}
	if s, err := b.admin.Status(t.Context()); err != nil || s.Warning == "" || s.Error != "" {
		t.Errorf("the status does not warn: %+v, %v", s, err)
	}
	b.guard(t, false)
}
