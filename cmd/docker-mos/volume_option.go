package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// options reads what -o gives.
func options(given []string) (map[string]string, error) {
	out := map[string]string{}
	for _, g := range given {
		key, value, ok := strings.Cut(g, "=")
		if _, twice := out[key]; twice {
			return nil, usage("option %s is given twice", key)
		}
		if !ok || key == "" {
			return nil, usage("-o %s is not of the form KEY=VALUE", g)
		}
		out[key] = value
	}
	return out, nil
}

// optionFlag adds the flag -o.
func (v volume) optionFlag(cmd *cobra.Command) *[]string {
	given := cmd.Flags().StringArrayP("opt", "o", nil, "Option of the volume, such as size=20g; keys are "+strings.Join(optionKeys(), ", "))
	// The only error is a second registration, which no command makes.
	_ = cmd.RegisterFlagCompletionFunc("opt", v.completeOption)
	return given
}

func optionKeys() []string {
	return []string{"size", "type", "fs", "vg", "from", "uid", "gid", "mode", "mountopts", "iops", "bps"}
}

// completeOption offers keys, and after one its values where they are known.
func (v volume) completeOption(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	key, _, ok := strings.Cut(word, "=")
	if !ok {
		var keys []string
		for _, k := range optionKeys() {
			keys = append(keys, k+"=")
		}
		return keys, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	var values []string
	switch key {
	case "type":
		values = []string{"linear", "loop", "striped", "thin"}
	case "fs":
		values = []string{"ext4", "xfs"}
	case "vg":
		values = v.offer(cmd, volumeGroups)
	case "from":
		values = v.offer(cmd, volumeNames, snapshotRefs)
	}
	var out []string
	for _, value := range values {
		if !slices.Contains(out, key+"="+value) {
			out = append(out, key+"="+value)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
