// Package store keeps records of a daemon in one bbolt file: typed buckets of
// JSON values, changed in transactions that may span several buckets.
//
// A change that has returned without error is on the disk. A change that
// failed, also for a full disk, has not happened, and the store stays usable.
// bbolt syncs twice per commit, for the data and for the page that makes it
// count; [DB.Batch] lets parallel callers share those.
//
// The file carries the version of its schema. A newer one is refused, an older
// one is brought up by the [Migration] functions given to [Open]. Files are
// made aside and linked into place, so there is no half-made one after a power
// cut, and Open reads all of a file, so that damage shows at the start.
package store
