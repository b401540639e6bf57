package authz

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

type entry struct {
	tar.Header
	text string
}

func file(name, text string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}, text}
}

func linked(kind byte, name, to string) entry {
	return entry{tar.Header{Typeflag: kind, Name: name, Linkname: to}, ""}
}

func archive(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// shout is a pin that is easy to see.
func shout(text string) (string, error) {
	if strings.Contains(text, "bad") {
		return "", errors.New("it is bad")
	}
	return strings.ToUpper(text) + "!", nil
}

// TestCopyContext: an Engine gets all entries as they are, but for what it may read as a Dockerfile.
func TestCopyContext(t *testing.T) {
	long := strings.Repeat("long/", 60) + "name"
	entries := []entry{
		{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "of git"}}, ""},
		{tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o750, Uid: 7, Gid: 1 << 30}, ""},
		{tar.Header{Typeflag: tar.TypeReg, Name: long, Mode: 0o4755, Size: 3, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}, "abc"},
		linked(tar.TypeSymlink, "d/l", "../elsewhere"),
		linked(tar.TypeLink, "d/h", long),
		file("./Dockerfile", "from a"), file("d/Dockerfile", "other"), file("dockerfile", "lower"), file("x/../Dockerfile", "from b"),
	}
	for name, c := range map[string]struct {
		dockerfile string
		want       map[string]string
	}{
		"default": {"", map[string]string{"./Dockerfile": "FROM A!", "d/Dockerfile": "other", "dockerfile": "LOWER!", "x/../Dockerfile": "FROM B!", long: "abc"}},
		"other":   {"/./d//Dockerfile", map[string]string{"./Dockerfile": "from a", "d/Dockerfile": "OTHER!", "dockerfile": "lower", long: "abc"}},
	} {
		for _, zipped := range []bool{false, true} {
			text := archive(t, entries...)
			if zipped {
				var b bytes.Buffer
				z := gzip.NewWriter(&b)
				_, _ = z.Write(text)
				_ = z.Close()
				text = b.Bytes()
			}
			var out bytes.Buffer
			if err := copyContext(&out, bytes.NewReader(text), c.dockerfile, shout); err != nil {
				t.Fatal(name, err)
			}
			r, n := tar.NewReader(&out), 0
			for {
				h, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(name, err)
				}
				is, err := io.ReadAll(r)
				if want, ok := c.want[h.Name]; err != nil || ok && want != string(is) {
					t.Errorf("%s: %s is %q, %v; want %q", name, h.Name, is, err, want)
				}
				was := entries[n+1].Header // without that of git
				if h.Name != was.Name || h.Mode != was.Mode || h.Uid != was.Uid || h.Gid != was.Gid || h.Linkname != was.Linkname || h.Typeflag != was.Typeflag ||
					h.PAXRecords["SCHILY.xattr.user.x"] != was.PAXRecords["SCHILY.xattr.user.x"] {
					t.Errorf("%s: %+v, want %+v", name, h, was)
				}
				n++
			}
			if n != len(entries)-1 {
				t.Errorf("%s: %d entries, want %d", name, n, len(entries)-1)
			}
		}
	}
}

// TestCopyContextRefuses: of what is refused an Engine never gets the end.
func TestCopyContextRefuses(t *testing.T) {
	good := file("Dockerfile", "from a")
	short := archive(t, good)
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"pin":             {archive(t, file("Dockerfile", "bad")), "it is bad"},
		"last":            {archive(t, good, file("a", "b"), file("./x/../Dockerfile", "bad")), "it is bad"},
		"link":            {archive(t, linked(tar.TypeSymlink, "Dockerfile", "other"), file("other", "bad")), "link"},
		"second name":     {archive(t, file("other", "bad"), linked(tar.TypeLink, "Dockerfile", "other")), "link"},
		"through a link":  {archive(t, linked(tar.TypeSymlink, "a", "."), file("a/Dockerfile", "bad")), "behind the link"},
		"through another": {archive(t, linked(tar.TypeSymlink, "a", "."), linked(tar.TypeLink, "b", "a"), file("b/Dockerfile", "bad")), "behind the link"},
		"pipe":            {archive(t, entry{tar.Header{Typeflag: tar.TypeFifo, Name: "Dockerfile"}, ""}), "is a pipe"},
		"device":          {archive(t, good, entry{tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8}, ""}), "neither a file"},
		"large":           {archive(t, file("Dockerfile", strings.Repeat("x", mostDockerfile+1))), "larger than"},
		"xz":              {[]byte("\xfd7zXZ\x00\x00"), "plain archive"},
		"cut off":         {short[:515], "no whole archive"},
		"no archive":      {bytes.Repeat([]byte("x"), 1024), "no whole archive"},
	} {
		var out bytes.Buffer
		err := copyContext(&out, bytes.NewReader(c.text), "", shout)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		r := tar.NewReader(&out)
		for err = nil; err == nil; {
			if _, err = r.Next(); err == nil {
				_, err = io.Copy(io.Discard, r)
			}
		}
		if out.Len() > 0 && errors.Is(err, io.EOF) && bytes.HasSuffix(out.Bytes(), make([]byte, 1024)) {
			t.Errorf("%s: the Engine gets a whole archive", name)
		}
	}
	deep := archive(t, linked(tar.TypeSymlink, "a", "b"), file("b/Dockerfile", "bad"))
	if err := copyContext(io.Discard, bytes.NewReader(deep), "a/Dockerfile", shout); err == nil || !strings.Contains(err.Error(), "link") {
		t.Errorf("a Dockerfile behind a link: %v", err)
	}
}

// TestABuildThroughTheSocket: what is refused never comes to an end at the Engine, the client is
// told why though it sends more, and the connection serves on.
func TestABuildThroughTheSocket(t *testing.T) {
	h := open(t, policyOfMe())
	more := file("more", strings.Repeat("x", 8<<20))
	for text, want := range map[string]string{
		"FROM sha256:abc\n":              "",
		"FROM sha256:abc AS x\nFROM y\n": "line 2 of the Dockerfile: image y is not on this host: docker pull it first [builtin: base]",
	} {
		body := archive(t, file("Dockerfile", text), more)
		build := call(http.MethodPost, "/v1.45/build?t=a/new", string(body))
		codes, bodies := h.ask(t, h.cfg.Listen, build+call(http.MethodGet, "/_ping", ""), 2)
		if want == "" && codes[0] != http.StatusOK || want != "" && (codes[0] != http.StatusForbidden || !strings.Contains(bodies[0], want)) || codes[1] != http.StatusOK {
			t.Errorf("%q: %d, %q", text, codes, bodies)
		}
		h.stub.mu.Lock()
		for i, r := range h.stub.seen {
			if r.URL.Path != "/v1.45/build" {
				continue
			}
			got := h.stub.body[i]
			if whole := strings.HasSuffix(got, strings.Repeat("\x00", 1024)); whole != (want == "") || strings.Contains(got, "sha256:abc") != whole {
				t.Errorf("%q: the Engine gets %d bytes, whole: %v", text, len(got), whole)
			}
		}
		h.stub.seen, h.stub.body = nil, nil
		h.stub.mu.Unlock()
	}
}

// TestABuildAsksForAnImageOnce, however often its Dockerfiles name it.
func TestABuildAsksForAnImageOnce(t *testing.T) {
	h := open(t, policyOfMe())
	text := strings.Repeat("FROM sha256:abc\n", 2*mostBases)
	build := call(http.MethodPost, "/v1.45/build?t=a/new", string(archive(t, file("Dockerfile", text), file("Dockerfile", text))))
	if codes, bodies := h.ask(t, h.cfg.Listen, build, 1); codes[0] != http.StatusOK {
		t.Errorf("%d, %q", codes, bodies)
	}
	h.stub.mu.Lock()
	defer h.stub.mu.Unlock()
	asked := 0
	for _, r := range h.stub.seen {
		if strings.HasPrefix(r.URL.Path, "/images/sha256:abc/") {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("the Engine is asked %d times", asked)
	}
}

// TestABuildIsNotRefusedByModesThatLetThrough, whatever its Dockerfile is.
func TestABuildIsNotRefusedByModesThatLetThrough(t *testing.T) {
	for _, mode := range []string{"warn", "audit"} {
		t.Run(mode, func(t *testing.T) {
			h := open(t, strings.Replace(policyOfMe(), "version = 1\n", "version = 1\nmode = '"+mode+"'\n", 1))
			body := archive(t, file("Dockerfile", "FROM \"y\"\n"), linked(tar.TypeSymlink, "dockerfile", "Dockerfile"))
			if codes, bodies := h.ask(t, h.cfg.Listen, call(http.MethodPost, "/v1.45/build", string(body)), 1); codes[0] != http.StatusOK {
				t.Errorf("%d, %q", codes, bodies)
			}
		})
	}
}
