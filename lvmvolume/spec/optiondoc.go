package spec

import (
	"fmt"
	"strings"
)

// OptionsDoc is the table of docs/volume-options.md, printed from [Options].
func OptionsDoc() string {
	var b strings.Builder
	b.WriteString("# Options of mos-lvm\n\nPrinted from the table in `lvmvolume/spec/option.go`; a test keeps it in step.\n\n")
	b.WriteString("| option (`docker volume create -o`) | value | default | meaning |\n|---|---|---|---|\n")
	for _, o := range Options() {
		help := o.Help
		if o.Copied {
			help = strings.TrimSuffix(help, ".") + "; a copy has its source's."
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", o.Key, strings.ReplaceAll(o.Value, "|", "\\|"), o.Default, help)
	}
	return b.String()
}
