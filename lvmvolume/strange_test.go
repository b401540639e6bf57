package lvmvolume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// TestDirectoryOfACopyGetsWhatWasAskedFor: of owner and mode that alone which was given;
// the rest is the source's, as its containers left it.
func TestDirectoryOfACopyGetsWhatWasAskedFor(t *testing.T) {
	r := newRig(t)
	r.make("src", "size", "1g", "mode", "0711")
	r.recordReady(t.Context(), 0)
	for opts, want := range map[string]os.FileMode{"": 0o750, "mode 2700": os.ModeSetgid | 0o700, fmt.Sprint("uid ", os.Geteuid()): 0o750} {
		name := fmt.Sprintf("copy%d", len(opts))
		r.make(name, append([]string{"from", "src"}, strings.Fields(opts)...)...)
		v := r.volume(name)
		if err := os.MkdirAll(r.dataOf(v), 0o750); err != nil { // the mount shows what came of the source
			t.Fatal(err)
		}
		if err := r.makeData(v); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(r.dataOf(v)); err != nil || st.Mode().Perm()|st.Mode()&os.ModeSetgid != want {
			t.Errorf("with %q it has %v, want %v", opts, st.Mode(), want)
		}
		p := plan.MountIt(v, plan.Use{Attached: true}, time.Now())
		if err := r.run(t.Context(), p[1:]); err != nil { // what follows the mount
			t.Fatal(err)
		}
		r.restart()
		r.mustLook()
		if v := r.volume(name); v.Chown != "" {
			t.Errorf("it is to be done again: %q", v.Chown)
		}
	}
	for _, kv := range [][]string{{"uid", "5"}, {"mode", "0700"}} {
		_, err := r.create(t.Context(), request("ro", append(kv, "from", "src", "mountopts", "ro")...), false)
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("a read-only copy with %v: %v", kv, err)
		}
	}
	testx.Need(t, testx.Root)
	r.make("other", "from", "src", "uid", "5", "gid", "6")
	v := r.volume("other")
	if err := errors.Join(os.MkdirAll(r.dataOf(v), 0o750), r.makeData(v)); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(r.dataOf(v), &st); err != nil || st.Uid != 5 || st.Gid != 6 || st.Mode&0o777 != 0o750 {
		t.Errorf("it is %d:%d %o, %v", st.Uid, st.Gid, st.Mode, err)
	}
}

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
