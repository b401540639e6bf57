package dockertest

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Image is one image, and how containers of it behave. Without a script a container
// does as its command says: sh -c "exit 3", true and false end, all others run.
type Image struct {
	Ref string
	ID  string // another one is another content; made of Ref when empty
	// Health is what the check of a container gives at one look of WaitHealthy after
	// the other; the last one stays. Without it the check's command is run.
	Health []string
	// Ends is the code that a container ends with at once, nil for none.
	Ends *int
	// Exec answers commands, nil to answer as a shell with a few words does.
	Exec func(cmd []string) (code int, output string)
	// Says is what a container of it writes.
	Says string
	// Uses is the memory in bytes that a container of it uses.
	Uses int64
	// Volumes are the paths of its VOLUME lines.
	Volumes []string
}

func (i Image) known() Image {
	if i.ID == "" {
		i.ID = "sha256:" + i.Ref
	}
	return i
}

// Pull implements [setmgr.Engine].
func (f *Fake) Pull(ctx context.Context, ref, _ string, progress func(status string, done, total int64)) error {
	err := f.call(ctx, "pull "+ref, func() error {
		i, there := f.registry[ref]
		if !there {
			return fault.NotFound("image %s is not in its registry, or that wants a login: look at its name, or run docker login", ref)
		}
		f.store[ref] = i
		return nil
	})
	if err == nil && progress != nil {
		progress("layer Downloading", 1, 2)
		progress("layer Downloading", 2, 2)
	}
	return err
}

// Load implements [setmgr.Engine].
func (f *Fake) Load(ctx context.Context, in io.Reader) error {
	refs, err := namesIn(in)
	if err != nil {
		return err
	}
	return f.call(ctx, "load "+strings.Join(refs, " "), func() error {
		for _, ref := range refs {
			f.store[ref] = Image{Ref: ref}.known()
		}
		return nil
	})
}

// namesIn are the names of the images that docker save wrote.
func namesIn(in io.Reader) ([]string, error) {
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("load: there is no manifest.json in it")
		}
		if err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
		if h.Name != "manifest.json" {
			continue
		}
		var images []struct {
			RepoTags []string `json:"RepoTags"`
		}
		if err := json.NewDecoder(r).Decode(&images); err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
		var refs []string
		for _, i := range images {
			refs = append(refs, i.RepoTags...)
		}
		return refs, nil
	}
}

// shell is what a container's programs know: a few words, and the files that were
// touched.
func (b *box) shell(cmd []string) (code int, output string) {
	switch {
	case b.image.Exec != nil:
		return b.image.Exec(cmd)
	case len(cmd) == 3 && cmd[0] == "sh" && cmd[1] == "-c":
		return b.script(cmd[2])
	case len(cmd) == 0:
		return 127, ""
	}
	switch arg := append(cmd, "", "", "")[1:]; cmd[0] {
	case "true":
	case "false":
		return 1, ""
	case "echo":
		return 0, strings.Join(cmd[1:], " ") + "\n"
	case "touch":
		b.files[arg[0]] = []byte{}
	case "cat":
		return 0, string(b.files[arg[0]])
	case "rm":
		delete(b.files, arg[0])
	case "test":
		if b.files[arg[1]] == nil {
			return 1, ""
		}
	case "head": // -c N FILE, and >/dev/shm/FILE
		n, err := strconv.Atoi(arg[1])
		if err != nil {
			return 1, err.Error()
		}
		if strings.HasPrefix(cmd[len(cmd)-1], ">/dev/shm/") {
			b.uses += int64(n)
			return 0, ""
		}
		return 0, strings.Repeat("\x00", n)
	case "exit":
		n, err := strconv.Atoi(arg[0])
		if err != nil {
			return 2, err.Error()
		}
		return n, ""
	default:
		return 127, "sh: " + cmd[0] + ": not found\n"
	}
	return 0, ""
}

func (b *box) script(text string) (code int, output string) {
	var all strings.Builder
	for line := range strings.SplitSeq(text, ";") {
		words := strings.Fields(line)
		var out string
		code, out = b.shell(words)
		all.WriteString(out)
		if len(words) > 0 && words[0] == "exit" {
			break
		}
	}
	return code, all.String()
}

// ends says whether a container's command ends by itself, and how.
func (b *box) ends() (code int, ends bool) {
	if b.image.Ends != nil {
		return *b.image.Ends, true
	}
	cmd := append(append([]string{}, b.config.Entrypoint...), b.config.Cmd...)
	switch {
	case len(cmd) == 3 && cmd[0] == "sh" && strings.HasPrefix(cmd[2], "exit "),
		len(cmd) == 1 && (cmd[0] == "true" || cmd[0] == "false"):
		code, _ = b.shell(cmd)
		return code, true
	}
	return 0, false
}
