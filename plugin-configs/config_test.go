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
