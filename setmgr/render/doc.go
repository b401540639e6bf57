// Package render turns a spec into containers to be made: into the call of the
// Engine API that is executed, and into the line of docker that is printed and
// gives the same. It is pure.
package render
