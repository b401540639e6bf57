package lvmvolume

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
)

// TestDocsAreInStep compares generated parts of the docs with the code; run it
// with MOS_UPDATE=1 to write them.
func TestDocsAreInStep(t *testing.T) {
	cfg := Defaults()
	reference, err := config.Reference("mos-lvm", &cfg)
	if err != nil {
		t.Fatal(err)
	}
	var levels, options strings.Builder
	levels.WriteString("| fill | setting | what happens |\n|---|---|---|\n")
	for _, l := range []struct {
		fill       float64
		name, what string
	}{
		{cfg.Thin.Extend, "extend", "the pool grows by a fifth from its volume group, as long as that has space"},
		{cfg.Thin.Warn, "warn", "the log warns, and the pool is looked at more often"},
		{cfg.Thin.Refuse, "refuse", "no new volumes, growth and snapshots"},
		{cfg.Thin.Pause, "pause", "running containers that can write to a volume of the pool are paused"},
	} {
		fmt.Fprintf(&levels, "| %.0f %% | `thin.%s` | %s |\n", 100*l.fill, l.name, l.what)
	}
	for _, fs := range []filesystem.Type{filesystem.Ext4, filesystem.XFS} {
		fmt.Fprintf(&options, "  - %s: `%s`\n", fs, strings.Join(filesystem.AllowedOptions(fs), "`, `"))
	}
	for _, c := range []struct{ file, part, want string }{
		{"../docs/mos-lvm.md", "levels", levels.String()},
		{"../docs/mos-lvm.md", "mountopts", options.String()},
		{"../docs/OPERATIONS.md", "volume-config", "```toml\n" + reference + "```\n"},
	} {
		inStep(t, c.file, c.part, c.want)
	}
}

// inStep compares what stands between a part's marks in a file.
func inStep(t *testing.T, file, part, want string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+part+" -->\n", "<!-- /"+part+" -->\n"
	head, rest, ok := strings.Cut(string(b), begin)
	got, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks %q", file, begin)
	}
	if got == want {
		return
	}
	if os.Getenv("MOS_UPDATE") == "" {
		t.Errorf("%s, part %s, is out of step: run MOS_UPDATE=1 go test ./lvmvolume", file, part)
		return
	}
	if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
