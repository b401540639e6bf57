// Package version tells which build of the project is running.
package version
