package embed

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// Restore makes a data directory from a backup, for a server with this config; for a
// cluster, once for each server of it with the same backup. The directory must not be
// there, and is there only if all went well.
//
// Revisions go on a thousand million above those of the backup, and all history is
// compacted: whoever watches a revision that was given out after the backup is told to
// list again.
func Restore(c Config, backup string) error {
	if _, err := state.Verify(backup); err != nil {
		return err
	}
	if _, err := os.Lstat(c.Dir); !errors.Is(err, fs.ErrNotExist) {
		return fault.Exists("restore into %s: it is there already: move it away", c.Dir)
	}
	ec, err := c.etcd()
	if err != nil {
		return err
	}
	part := filepath.Clean(c.Dir) + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("restore into %s: %w", c.Dir, err)
	}
	const bump = 1_000_000_000
	err = snapshot.NewV3(logger(c.Log)).Restore(snapshot.RestoreConfig{
		SnapshotPath: backup, OutputDataDir: part, Name: ec.Name,
		PeerURLs: []string{ec.AdvertisePeerUrls[0].String()}, InitialCluster: ec.InitialCluster, InitialClusterToken: ec.InitialClusterToken,
		RevisionBump: bump, MarkCompacted: true,
	})
	if err == nil {
		err = os.Chmod(part, 0o700) //nolint:gosec // a folder
	}
	if err == nil {
		err = os.Rename(part, c.Dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("restore %s into %s: %w", backup, c.Dir, err), os.RemoveAll(part))
	}
	return nil
}

// initial is the first members of a cluster as etcd's flag has them.
func initial(peers map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		all = append(all, name+"="+peers[name])
	}
	return strings.Join(all, ",")
}
