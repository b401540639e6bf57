// Package image builds the image that containers of tests are made of, from a
// static busybox and this module's own netcheck. Nothing is pulled: the image
// is written as a tar file that "docker load" takes, byte for byte the same on
// each build, and kept in the test cache under the hash of what is in it.
//
// In the image: all applets of busybox as links in /bin, /bin/netcheck, /tmp,
// /etc with a root and a nobody user. It has no entry point; its command is
// "sleep infinity", so that it lives on by itself, and busybox's init is not
// needed.
package image
