package mosbridge

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/mosbridge/flow"
)

// TestDocsAreInStep compares generated parts of the docs with the code; run it
// with MOS_UPDATE=1 to write them.
func TestDocsAreInStep(t *testing.T) {
	cfg := Defaults()
	reference, err := config.Reference("mosbridge", &cfg)
	if err != nil {
		t.Fatal(err)
	}
	var tables, reasons strings.Builder
	tables.WriteString("| table | name | duty |\n|---|---|---|\n")
	for _, tb := range flow.Tables() {
		fmt.Fprintf(&tables, "| %d | %s | %s |\n", tb.ID, tb.Name, tb.Duty)
	}
	reasons.WriteString("| reason | a frame that |\n|---|---|\n")
	for _, r := range flow.Reasons() {
		fmt.Fprintf(&reasons, "| `%s` | %s |\n", r.Name, r.Help)
	}
	for _, c := range []struct{ file, part, want string }{
		{"../docs/mosbridge.md", "tables", tables.String()},
		{"../docs/mosbridge.md", "reasons", reasons.String()},
		{"../docs/OPERATIONS.md", "config", "```toml\n" + reference + "```\n"},
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
		t.Errorf("%s, part %s, is out of step: run MOS_UPDATE=1 go test ./mosbridge", file, part)
		return
	}
	if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
