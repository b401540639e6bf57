// Package spec is what a user writes about a set: its types, their strict decoding
// from JSON and YAML with the place of each error, the checks, and the schema that
// is published. It is pure.
package spec
