// Package infra is the image of infra containers: one static program of a few
// hundred bytes that waits, reaps and ends when it is told to. It is written here as
// machine code, so that the image of every architecture is at hand everywhere, also
// for an Engine on another machine, and needs no compiler and no registry.
package infra
