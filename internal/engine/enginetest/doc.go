// Package enginetest is a Docker Engine for tests that answers the questions of
// package engine over a unix socket, in the bytes of a real one.
package enginetest
