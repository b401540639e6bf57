// Package docker knows containers from what their Engine keeps on disk: names,
// labels and volumes from the files below its data root, process ids from the state
// of the runtime below its exec root. It never asks the Engine, so it works as
// well while that hangs. The formats are the Engine's own; the fields that are read
// here are the same from 20.10 to 29.
package docker
