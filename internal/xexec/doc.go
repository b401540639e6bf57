// Package xexec runs commands for the rest of the module: one interface, the
// host behind it, and a fake for tests.
//
// A command is an argument vector, never a shell line, so no caller has to
// quote. Its environment carries LC_ALL=C, so that messages can be matched.
package xexec
