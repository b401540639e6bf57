package state

// OpenWith opens a store as a program would that knows these migrations.
var OpenWith = open

// Migration is a step from one version of the schema to the next.
type Migration = migration

// TooOld says whether a version of etcd is refused.
var TooOld = tooOld
