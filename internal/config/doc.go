// Package config loads the configuration of a daemon. A value comes from the
// first of these that has it: a flag, an environment variable, the TOML file,
// the default. All faults are reported together, each with its place.
//
// The configuration is a struct whose fields say it all:
//
//	type Config struct {
//		Socket string `toml:"socket" doc:"Unix socket that Docker calls."`
//		Log    struct {
//			Level string `toml:"level" doc:"debug, info, warn or error."`
//		} `toml:"log" doc:"What is written to the log."`
//	}
//
// For a daemon named mosbridge the inner field is the key level of table [log]
// in /etc/mos/mosbridge.toml, the variable MOS_MOSBRIDGE_LOG_LEVEL and the flag
// -log.level. An underscore or dash in a key is an underscore in the variable.
// A name that begins with "mos-" loses that part in variables: MOS_LVM_… for
// mos-lvm.
//
// Fields are strings, bools, numbers, types with text methods such as
// netip.Prefix and [Duration], slices of these (commas between the parts in
// variables and flags), and structs of all of them, which are tables. The fields of
// an embedded struct without tags are those of the struct around it. A field named
// "-" by its toml tag is not configuration.
package config
