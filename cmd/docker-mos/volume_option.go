package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/lvmvolume/spec"
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
	var keys []string
	for _, o := range spec.Options() {
		keys = append(keys, o.Key)
	}
	given := cmd.Flags().StringArrayP("opt", "o", nil, "Option of the volume, such as size=20g; keys are "+strings.Join(keys, ", "))
	// The only error is a second registration, which no command makes.
	_ = cmd.RegisterFlagCompletionFunc("opt", v.completeOption)
	return given
}

// completeOption offers keys, and after one its values where they are known.
func (v volume) completeOption(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	key, _, ok := strings.Cut(word, "=")
	var values, out []string
	for _, o := range spec.Options() {
		out = append(out, o.Key+"=\t"+o.Help)
		if o.Key == key && strings.Contains(o.Value, "|") {
			values = strings.Split(o.Value, "|")
		}
	}
	if !ok {
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	switch key {
	case "vg":
		values = v.offer(cmd, volumeGroups)
	case "from":
		values = v.offer(cmd, volumeNames, snapshotRefs)
	}
	out = nil
	for _, value := range values {
		if !slices.Contains(out, key+"="+value) {
			out = append(out, key+"="+value)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
