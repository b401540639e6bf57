package mosbridge

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

func TestPublishersFollowTheEngine(t *testing.T) {
	at := time.Unix(1000, 0)
	asked := []spec.Port{{Proto: spec.TCP, Container: 80, HostPort: 8080}}
	ep := func(c, network, sandbox string, ext external, joined int) endpointRecord {
		return endpointRecord{
			Endpoint: spec.Endpoint{ID: spec.EndpointID(strings.Repeat(c, 64)), Network: spec.NetworkID(network)},
			Joined:   true, JoinedAt: at.Add(time.Duration(joined) * time.Second), Sandbox: sandbox, Asked: asked, External: ext,
		}
	}
	left := ep("5", "host", "s3", unasked, 0)
	left.Joined = false
	none := ep("6", "host", "s4", programmed, 0)
	none.Asked = nil
	for _, c := range []struct {
		name string
		eps  []endpointRecord
		want string
	}{
		{"alone", []endpointRecord{ep("1", "host", "s1", unasked, 0)}, "1"},
		{"first-joined", []endpointRecord{ep("1", "host", "s1", unasked, 9), ep("2", "host", "s1", unasked, 3)}, "2"},
		{"the-engines-choice", []endpointRecord{ep("1", "host", "s1", programmed, 9), ep("2", "host", "s1", unasked, 3)}, "1"},
		{"taken-back", []endpointRecord{ep("1", "host", "s1", revoked, 1), ep("2", "host", "s1", unasked, 3)}, "2"},
		{"no-gateway-here", []endpointRecord{ep("1", "external", "s1", programmed, 1), ep("2", "host", "s1", unasked, 3)}, "2"},
		{"two-containers", []endpointRecord{ep("1", "host", "s1", unasked, 1), ep("2", "host", "s2", unasked, 3)}, "1 2"},
		{"not-joined-or-nothing-asked", []endpointRecord{left, none}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, id := range slices.Sorted(maps.Keys(publishers(c.eps, func(n spec.NetworkID) bool { return n == "host" }))) {
				got = append(got, string(id[:1]))
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("got %q, want %q", g, c.want)
			}
		})
	}
}

func TestEnginesThatIgnoreInterfaceNames(t *testing.T) {
	for v, want := range map[string]bool{"20.10.24+dfsg1": true, "26.1.5": true, "29.7.2": true, "29.8.0": false, "30.0.0": false, "v2.0.0-beta.24": false, "dev": false, "": false} {
		if got := ignoresNames(v); got != want {
			t.Errorf("%q: got %v, want %v", v, got, want)
		}
	}
}
