package lvmvolume

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// TestStrangersFileSystemLeadsNowhere: an imported file system may hold links where
// ours has directories; neither Docker nor we follow them.
func TestStrangersFileSystemLeadsNowhere(t *testing.T) {
	r := newRig(t)
	v := spec.Volume{ID: "0123456789abcdef", Name: "v", Mode: 0o777, UID: os.Geteuid(), GID: os.Getegid()}
	root := r.dirOf(v)
	secret := filepath.Join(t.TempDir(), "secret")
	for _, dir := range []string{root, secret} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(secret, r.dataOf(v)); err != nil {
		t.Fatal(err)
	}
	if err := r.makeData(v); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a link as _data: %v", err)
	}
	if err := os.Rename(r.dataOf(v), r.dataOf(v)+".new"); err != nil {
		t.Fatal(err)
	}
	if err := r.makeData(v); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(secret); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the link was followed: %v %v", st.Mode(), err)
	}
	if st, err := os.Lstat(r.dataOf(v)); err != nil || !st.IsDir() || st.Mode().Perm() != 0o777 {
		t.Errorf("_data is %v, %v", st, err)
	}
}
