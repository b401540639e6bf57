// Package testx holds what tests of all packages share: what a test needs of
// its machine, golden files, waiting, logs and kept artifacts.
//
// A test that needs more than Go says so first:
//
//	testx.Need(t, testx.Root, testx.OVS)
//
// and is skipped, with the reason, where that is missing. A ring of tests that
// must not skip names its needs in the environment, MOS_TEST_MUST=root,ovs;
// a missing one then fails the test.
package testx
