package spec

import (
	"cmp"
	"fmt"
	"strings"
)

// OptionsDoc is docs/options.md, printed from the table.
func OptionsDoc() string {
	var b strings.Builder
	b.WriteString("# Options of mosbridge\n\nPrinted from the table in `mosbridge/spec/option.go`; a test keeps it in step.\n\n")
	b.WriteString("| option | value | default | network (`-o`) | endpoint (`--driver-opt`) | meaning |\n|---|---|---|---|---|---|\n")
	for _, o := range Options() {
		value := strings.ReplaceAll(o.Value, "|", "\\|")
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s | %s |\n", o.Key, value, cmp.Or(o.Default, "–"), mark(o.OfNetwork()), mark(o.OfEndpoint()), o.Help)
	}
	return b.String()
}

func mark(yes bool) string {
	if yes {
		return "yes"
	}
	return "–"
}
