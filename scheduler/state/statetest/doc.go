// Package statetest is the suite that a store passes on any etcd, and servers of etcd in
// processes of their own, to be killed. It is for tests only.
package statetest
