package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/mosdocker/mosdocker/setmgr/label"
)

// boxes are the containers of the Engine that scripts ask: set shop runs, with a
// migration that was done; rest was stopped by docker set stop; dead has an infra that was
// killed; bare has no others; lost has no infra.
func boxes() []container.InspectResponse {
	up, gone := container.StateRunning, container.StateExited
	spec := func(options string) string { return `{"Image":"shop/app:41","Options":{` + options + `}}` }
	return []container.InspectResponse{
		box("shop", "", up, 0, "always", `{"Name":"shop","Volume":{"Size":"1g","Path":"/data"}}`),
		box("shop", "web", up, 0, "always", spec("")),
		box("shop", "migrate", gone, 0, "no", spec(`"Once":true`)),
		box("rest", "", gone, 0, "no", `{"Name":"rest"}`),
		box("rest", "web", gone, 137, "no", spec("")),
		box("rest", "log", gone, 0, "no", spec("")),
		box("dead", "", gone, 137, "always", `{"Name":"dead"}`),
		box("dead", "web", up, 0, "always", spec("")),
		box("bare", "", up, 0, "always", `{"Name":"bare"}`),
		box("lost", "web", up, 0, "always", spec("")),
	}
}

func box(set, member string, state container.ContainerState, code int, restart container.RestartPolicyMode, spec string) container.InspectResponse {
	name, labels := set+".infra", map[string]string{label.Set: set, label.Role: label.RoleInfra, label.Spec: spec}
	if member != "" {
		spec = strings.Replace(spec, "{", `{"Name":"`+member+`",`, 1)
		name = set + "." + member
		labels = map[string]string{
			label.Set: set, label.Role: label.RoleMember, label.Member: member, label.Rev: "2", label.Spec: spec,
			label.History: `[{"rev":1,"at":"2026-01-02T03:04:05Z","id":"sha256:aa","spec":{"Name":"x","Image":"shop/app:40"}}]`,
		}
	}
	return container.InspectResponse{
		ID: id(string("0123456789abcdef"[len(name)%16]))[:40] + strings.Repeat("0", 24-len(name)) + name, Name: "/" + name, Created: "2026-01-02T03:04:05Z",
		State:      &container.State{Status: state, ExitCode: code, StartedAt: "2026-01-02T03:04:06Z"},
		Config:     &container.Config{Image: "shop/app:41", Labels: labels, Healthcheck: &container.HealthConfig{Test: []string{"CMD", "true"}}},
		HostConfig: &container.HostConfig{RestartPolicy: container.RestartPolicy{Name: restart}},
	}
}

// event is one of set shop's web.
func event(action, exec, code string) events.Message {
	a := map[string]string{"name": "shop.web", "image": "shop/app:41", label.Set: "shop", label.Member: "web", label.Spec: `{"secret":1}`}
	if exec != "" {
		a["execID"] = exec
	}
	if code != "" {
		a["exitCode"] = code
	}
	return events.Message{Type: events.ContainerEventType, Action: events.Action(action), TimeNano: 1767323045000000007, Actor: events.Actor{ID: "1", Attributes: a}}
}

// engineID is that of the Engine that scripts ask, another for each test process.
func engineID() string { return "fixed-" + strconv.Itoa(os.Getpid()) }

// engineAnswer is an Engine with fixed answers to what sets ask of one.
func engineAnswer(r *http.Request, _ []byte) (any, int) {
	path := r.URL.Path
	if version, rest, ok := strings.Cut(strings.TrimPrefix(path, "/v1."), "/"); ok && strings.HasPrefix(path, "/v1.") && version != "" {
		path = "/" + rest
	}
	ref, of, _ := strings.Cut(strings.TrimPrefix(path, "/containers/"), "/")
	switch {
	case path == "/_ping":
		return "OK", 200
	case path == "/info":
		return map[string]any{"ID": engineID(), "CgroupDriver": "cgroupfs", "CgroupVersion": "1", "NCPU": 4, "MemTotal": 1 << 34, "SystemTime": "2026-01-02T03:04:05Z"}, 200
	case path == "/volumes":
		return map[string]any{"Volumes": []any{}}, 200
	case path == "/events" && !strings.Contains(r.URL.RawQuery, "mos.set%3Dshop"):
		<-r.Context().Done() // nothing happens
		return nil, 200
	case path == "/events":
		return lines{event("exec_create: true ", "aaaa", ""), event("exec_start: true ", "aaaa", ""), event("exec_die", "aaaa", "0"), event("exec_create: sh -c id", "bbbb", ""), event("exec_die", "bbbb", "3"), event("die", "", "137")}, 200
	case path == "/containers/json":
		var out []container.Summary
		for _, b := range boxes() {
			out = append(out, container.Summary{ID: b.ID, Names: []string{b.Name}, Labels: b.Config.Labels})
		}
		return out, 200
	case of == "logs":
		<-r.Context().Done() // nothing is written
		return nil, 200
	case of == "json":
		for _, b := range boxes() {
			if ref == b.ID || ref == "1" {
				return b, 200
			}
		}
	}
	return map[string]string{"message": "no such thing: " + r.URL.Path}, 404
}

// TestHealthChecksAreToldFromOtherCommands, whatever their form.
func TestHealthChecksAreToldFromOtherCommands(t *testing.T) {
	for test, commands := range map[string]map[string]bool{
		`["CMD","curl","-f","localhost"]`:   {"curl -f localhost": true, "sh": false, "curl -f localhost/x": false},
		`["CMD-SHELL","curl -f localhost"]`: {"/bin/sh -c curl -f localhost": true, "sh -c id": false},
		`["NONE"]`:                          {"sh": false},
		`null`:                              {"": false},
	} {
		var words []string
		if err := json.Unmarshal([]byte(test), &words); err != nil {
			t.Fatal(err)
		}
		for command, want := range commands {
			if isCheck(words, command) != want {
				t.Errorf("%s: %q is a check: %v", test, command, !want)
			}
		}
	}
	c := &healthChecks{ask: func(context.Context, string) []string { return []string{"CMD", "true"} }, of: map[string][]string{}, others: map[string]bool{}}
	if !c.is(t.Context(), event("exec_die", "unseen", "0")) {
		t.Error("the end of a command that began unseen is told")
	}
}

// TestOptionsOfDockersOwnCommandsArePassedOn as they were meant, however they were
// written.
func TestOptionsOfDockersOwnCommandsArePassedOn(t *testing.T) {
	for line, want := range map[string]string{
		"-itu root shop web sh":                     "--interactive=true --tty=true --user=root | shop web sh",
		"-uroot shop web sh -c ls":                  "--user=root | shop web sh -c ls",
		"--user=root -e A=1 -eB=2 shop web sh":      "--env=A=1 --env=B=2 --user=root | shop web sh",
		"--detach-keys ctrl-x -w /tmp shop web pwd": "--detach-keys=ctrl-x --workdir=/tmp | shop web pwd",
		"shop web ls -la --color":                   " | shop web ls -la --color",
	} {
		cmd, _, err := newSet(nil).Find([]string{"exec"})
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.ParseFlags(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(given(cmd), " ") + " | " + strings.Join(cmd.Flags().Args(), " ")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", line, diff)
		}
	}
}
