package embed

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// Restore makes the data directory of a server that is alone from a backup. The directory
// must not be there, and is there only if all went well.
//
// Revisions go on above all that were ever given out, and all history is compacted: whoever
// watches a revision from before is told to list again, and hosts take what they are told
// for later than what they have.
func Restore(c Config, backup string) error {
	if c.Cluster != nil {
		return fault.Invalid("restore: %s is one of several servers: restore all of them at once", c.Cluster.Name)
	}
	ec, err := c.etcd()
	if err != nil {
		return err
	}
	return restore(c.Log, backup, map[string]string{alone: ec.AdvertisePeerUrls[0].String()}, map[string]string{alone: c.Dir})
}

// RestoreCluster makes, as [Restore] does, a folder below dir for each of the servers of a
// cluster, by their names. Peers are the https://HOST:PORT on which they will reach each
// other. Made for each apart, they would differ in their revisions.
func RestoreCluster(log *slog.Logger, dir string, peers map[string]string, backup string) error {
	dirs := map[string]string{}
	for name, at := range peers {
		if name == "" || name != filepath.Base(name) || name[0] == '.' {
			return fault.Invalid("etcd: %q is no name of a server", name)
		}
		if _, err := secure(at); err != nil {
			return fmt.Errorf("%s among the peers: %w", name, err)
		}
		dirs[name] = filepath.Join(dir, name)
	}
	if len(peers) == 0 {
		return fault.Invalid("etcd: no servers are named")
	}
	return restore(log, backup, peers, dirs)
}

// restore makes directories from a backup, for servers by their names.
func restore(log *slog.Logger, backup string, peers, dirs map[string]string) error {
	if _, err := state.Verify(backup); err != nil {
		return err
	}
	for _, dir := range dirs {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			return fault.Exists("restore into %s: it is there already: move it away", dir)
		}
	}
	etcd := snapshot.NewV3(logger(log, &lastWords{}))
	status, err := etcd.Status(backup)
	if err != nil {
		return fault.Invalid("restore %s: %w", backup, err)
	}
	by := bump(status.Revision, time.Now())
	for name, dir := range dirs {
		part := filepath.Clean(dir) + ".part"
		defer os.RemoveAll(part) //nolint:errcheck // is there only if this failed
		if err := os.RemoveAll(part); err != nil {
			return fmt.Errorf("restore into %s: %w", dir, err)
		}
		err := etcd.Restore(snapshot.RestoreConfig{
			SnapshotPath: backup, OutputDataDir: part, Name: name,
			PeerURLs: []string{peers[name]}, InitialCluster: initial(peers), InitialClusterToken: embed.NewConfig().InitialClusterToken,
			RevisionBump: by, MarkCompacted: true,
		})
		if err == nil {
			err = os.Chmod(part, 0o700) //nolint:gosec // a folder
		}
		if err != nil {
			return fmt.Errorf("restore %s into %s: %w", backup, dir, err)
		}
	}
	for _, dir := range dirs {
		if err := os.Rename(filepath.Clean(dir)+".part", dir); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	return nil
}

// bump is by how much revisions grow at a restore of a backup of one. They come to tenths
// of milliseconds since 1970, which those of a store in use cannot reach; so a backup may be
// restored again after one of it was in use, or one that is older.
func bump(revision int64, now time.Time) uint64 {
	const least = 1_000_000_000 // where the clock is wrong
	return uint64(max(now.UnixMicro()/100-revision, least))
}

// initial is the first members of a cluster as etcd's flag has them.
func initial(peers map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		all = append(all, name+"="+peers[name])
	}
	return strings.Join(all, ",")
}
