package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/setmgr/file"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// readSpec reads the file of a set, "-" is standard input, and what is in the files
// that it names.
func readSpec(cmd *cobra.Command, path string) (*spec.Set, map[string][]byte, error) {
	if path != "-" {
		return file.Read(path)
	}
	data, err := io.ReadAll(cmd.InOrStdin())
	if err != nil {
		return nil, nil, err
	}
	return file.Parse("stdin", data)
}
