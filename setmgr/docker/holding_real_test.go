package docker_test

import (
	"slices"
	"testing"

	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/spec"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestImagesAndPortsOfAHost: an image that is made of another has its layers and one of its own, of the size
// of what was written; ports are those of containers that run, whichever driver publishes them.
func TestImagesAndPortsOfAHost(t *testing.T) {
	open(t, func(t *testing.T, e *docker.Engine, h *rig.Host, _ spec.Set) {
		t.Helper()
		ctx := t.Context()
		h.MustDocker(t, "run", "--name", "maker", "--network", "none", rig.Image, "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=8")
		h.MustDocker(t, "commit", "maker", "only/here:1")
		images, err := e.Named(ctx)
		if err != nil {
			t.Fatal(err)
		}
		layers := func(name string) []docker.Layer {
			at := slices.IndexFunc(images, func(i docker.Image) bool { return slices.Contains(i.Names, name) })
			if at < 0 {
				t.Fatalf("%s is not among %+v", name, images)
			}
			all, err := e.Layers(ctx, images[at])
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		of, base := layers("only/here:1"), layers(rig.Image)
		n := len(base)
		if len(of) != n+1 || of[n-1].ID != base[n-1].ID || of[n].Bytes < 8<<20 || of[n].Bytes > 9<<20 || base[0].Bytes < 1<<20 || of[n].ID == of[n-1].ID {
			t.Errorf("the layers are %+v, upon %+v", of, base)
		}

		h.MustDocker(t, "run", "-d", "--name", "lone", "-p", "8080:80", "-p", "53:53/udp", rig.Image, "sleep", "1000")
		var p docker.Published
		ports := func(want ...string) {
			t.Helper()
			if got, err := p.Ports(ctx, e); err != nil || !slices.Equal(got, want) {
				t.Errorf("the ports are %q, want %q; %v", got, want, err)
			}
		}
		ports("tcp/8080", "udp/53")
		ports("tcp/8080", "udp/53") // now known
		h.MustDocker(t, "rm", "-f", "lone")
		ports()
		h.MustDocker(t, "run", "-d", "--network", "host", "-p", "90:80", rig.Image, "sleep", "1000")
		h.MustDocker(t, "run", "-d", "--network", "none", "-p", "91:80", rig.Image, "sleep", "1000")
		ports() // of the Engine's own, nothing is published

		h.MustDocker(t, "run", "-d", "-p", "127.0.0.1:80:80", "-p", "[::1]:81:81", rig.Image, "sleep", "1000")
		ports("tcp/127.0.0.1:80", "tcp/[::1]:81")
		for at, may := range map[string]bool{"80:80": false, "0.0.0.0:80:80": false, "127.0.0.1:80:80": false, "127.0.0.2:80:80": true, "[::1]:80:80": true} {
			if out, err := h.Docker("run", "--rm", "-p", at, rig.Image, "true"); err == nil != may {
				t.Errorf("beside 127.0.0.1:80, %s is published: %v, want %v: %s %v", at, err == nil, may, out, err)
			}
		}
	})
}
