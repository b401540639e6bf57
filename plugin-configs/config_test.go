// Package plugins compares the managed plugins' configurations with the daemons'.
package plugins

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/mosdocker/mosdocker/authz"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/lvmvolume"
	"github.com/mosdocker/mosdocker/mosbridge"
)

// TestSettings: each setting of a daemon can be made by "docker plugin set", but for
// paths that the plugin's own file system settles.
func TestSettings(t *testing.T) {
	bridge, volume, guard := mosbridge.Defaults(), lvmvolume.Defaults(), authz.Defaults()
	for name, of := range map[string]struct {
		defaults any
		settled  []string
	}{
		"mosbridge": {&bridge, []string{"MOS_MOSBRIDGE_SOCKET", "MOS_MOSBRIDGE_ADMIN", "MOS_MOSBRIDGE_STATE_DIR"}},
		"mos-lvm":   {&volume, []string{"MOS_LVM_SOCKET", "MOS_LVM_ADMIN", "MOS_LVM_STATE_DIR", "MOS_LVM_DEVICES_FILE"}},
		"mos-authz": {&guard, []string{"MOS_AUTHZ_SOCKET", "MOS_AUTHZ_ADMIN", "MOS_AUTHZ_POLICY"}},
	} {
		reference, err := config.Reference(name, of.defaults)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, m := range regexp.MustCompile(`variable (MOS_\w+)`).FindAllStringSubmatch(reference, -1) {
			if !slices.Contains(of.settled, m[1]) {
				want = append(want, m[1])
			}
		}
		var plugin struct {
			Env []struct {
				Name        string `json:"name"`
				Description string `json:"description"`
			} `json:"env"`
		}
		text, err := os.ReadFile(filepath.Join(name, "config.json"))
		if err == nil {
			err = json.Unmarshal(text, &plugin)
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range plugin.Env {
			if got = append(got, e.Name); e.Description == "" {
				t.Errorf("%s: %s is not described", name, e.Name)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s has settings\n%q, its daemon knows\n%q", name, got, want)
		}
	}
}

// TestNothingIsMountedOverTheHost: of a plugin with a propagated mount, all that it is given
// of the host stays shared with it unless it is said otherwise, and the Engine's own mounts
// inside then come to lie over the host's, that on /run/docker/plugins over all plugins.
func TestNothingIsMountedOverTheHost(t *testing.T) {
	files, err := filepath.Glob("*/config.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("%q, %v", files, err)
	}
	propagates := 0
	for _, name := range files {
		var plugin struct {
			Propagated string `json:"propagatedmount"`
			Mounts     []struct {
				Name    string   `json:"name"`
				Options []string `json:"options"`
			} `json:"mounts"`
		}
		text, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(text, &plugin)
		}
		if err != nil {
			t.Fatal(err)
		}
		if plugin.Propagated == "" {
			continue
		}
		propagates++
		for _, m := range plugin.Mounts {
			if !slices.Contains(m.Options, "rslave") {
				t.Errorf("%s: mount %s is shared with the host: %q", name, m.Name, m.Options)
			}
		}
	}
	if propagates != 1 {
		t.Errorf("%d plugins propagate a mount", propagates)
	}
}
