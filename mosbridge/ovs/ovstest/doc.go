// Package ovstest runs a private Open vSwitch with the userspace datapath for
// tests.
//
// The test binary has to run in namespaces of its own, since bridges make
// links: its TestMain calls [Main].
package ovstest
