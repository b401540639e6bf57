// Package plan decides: from what is observed and what is wished it makes the
// list of steps, each with its cause, that `--dry-run` prints and the driver
// runs. It also holds the arithmetic of space: what a pool may promise. It
// touches nothing.
package plan
