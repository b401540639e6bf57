// Package spec is what a user writes about a set: its types, their strict decoding
// from JSON and YAML with the place of each error, the checks, and the schema that
// is published. It is pure.
//
//	file ─► readJSON, readYAML ─► node ─► flaws.value ─► Set ─► flaws.set ─► Set
//	label ─────────────────────────────────────────────► Set, unchecked
//
// What is wrong is collected as flaws, and told all at once. The rules are in the
// files check_*.go, with a row for each in TestRules. Keys of a file, the schema
// and docs/set-spec.md come from the fields of the types and the table in keys.go.
package spec
