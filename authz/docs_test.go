package authz

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/internal/config"
)

// TestDocsAreInStep compares generated parts of the docs with the code; run it
// with MOS_UPDATE=1 to write them.
func TestDocsAreInStep(t *testing.T) {
	cfg := Defaults()
	reference, err := config.Reference("mos-authz", &cfg)
	if err != nil {
		t.Fatal(err)
	}
	var actions strings.Builder
	for _, a := range policy.Actions() {
		actions.WriteString("`" + a + "` ")
	}
	for _, c := range []struct{ part, want string }{
		{"keys", policy.Reference()},
		{"actions", strings.TrimSpace(actions.String()) + "\n"},
		{"profiles", "```toml\n" + policy.Profiles() + "```\n"},
		{"config", "```toml\n" + reference + "```\n"},
	} {
		inStep(t, "../docs/authz.md", c.part, c.want)
	}
	schema := "../docs/authz-policy.schema.json"
	if os.Getenv("MOS_UPDATE") != "" {
		if err := os.WriteFile(schema, []byte(policy.Schema()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(schema); err != nil || string(b) != policy.Schema() {
		t.Errorf("%s is not in step: run the test with MOS_UPDATE=1 (%v)", schema, err)
	}
	// The policy that make install puts on a host.
	usual := filepath.Join("..", "deploy", "policy.toml")
	if text, err := os.ReadFile(usual); err != nil {
		t.Error(err)
	} else if _, err := policy.Parse(usual, text); err != nil {
		t.Error(err)
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
	switch {
	case got == want:
	case os.Getenv("MOS_UPDATE") == "":
		t.Errorf("part %s of %s is not in step with the code: run the test with MOS_UPDATE=1", part, file)
	default:
		if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
