// Package ipamtest holds a store in memory that behaves as real ones do, and the
// suite of tests that every [ipam.Store] passes.
package ipamtest
