// Package spec holds what a user asked of mosbridge, decoded and checked: the
// typed [Network] and [Endpoint], and the one table of options that every
// `-o key=value` and `--driver-opt key=value` is parsed by. It is pure: values
// in, values and errors out. Everything behind this package works with typed,
// checked values only.
package spec
