package main

import (
	"io"
	"strings"
	"testing"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

// TestFormatsSayWhatIsMissing: the field that has neither name, and what is not known.
func TestFormatsSayWhatIsMissing(t *testing.T) {
	for format, want := range map[string]string{
		"{{.Name}} {{.Nope}}":                      "there is no field .Nope",
		"{{.name}} {{.Nope}}":                      "there is no field .Nope",
		"{{.Usage.Used}}":                          ".Usage is not known of this one",
		"{{.Name}}{{with .Usage}}{{.Used}}{{end}}": "",
		"{{.name}}":                                "",
	} {
		write, err := inspector(format)
		if err != nil {
			t.Fatal(err)
		}
		err = write(io.Discard, []any{lvm.Volume{Name: "data"}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", format, err, want)
		}
	}
}
