package spec

import (
	"regexp"
	"strings"
)

var (
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	modeForm   = regexp.MustCompile(`^0?[0-7]{3}$`)
	ownerForm  = regexp.MustCompile(`^[0-9]{1,9}(:[0-9]{1,9})?$`)
)

// mostText is how long the text of a file may be: it stands in a label.
const mostText = 32 << 10

// files checks those that are put into a container.
func (f *flaws) files(at string, o Options) {
	if len(o.Files) > 0 && o.ReadOnly {
		f.add(at+"/Files", "with ReadOnly no file can be put into the container: mount it, or drop ReadOnly")
	}
	taken := map[string]bool{}
	for i, file := range o.Files {
		one := index(at+"/Files", i)
		f.target(one+"/Path", file.Path)
		if taken[file.Path] {
			f.add(one+"/Path", "%.100s has a file already: put each on its own path", file.Path)
		}
		taken[file.Path] = true
		for _, m := range o.Mounts {
			if m.Type == MountTmpfs && (file.Path == m.Path || strings.HasPrefix(file.Path, m.Path+"/")) {
				f.add(one+"/Path", "%.100s is in a tmpfs, which is empty at each start: put the file elsewhere", file.Path)
			}
		}
		f.content(one, file)
		if file.Mode != "" && !modeForm.MatchString(file.Mode) {
			f.add(one+"/Mode", "%.20q are no rights: write three octal digits such as 0440", file.Mode)
		}
		if file.User != "" && !ownerForm.MatchString(file.User) {
			f.add(one+"/User", "%.40q is no owner: write numbers, UID or UID:GID, such as 1000:1000", file.User)
		}
	}
}

// content checks that a file has one of its contents.
func (f *flaws) content(at string, file File) {
	switch {
	case file.Source != "" && file.Text != "":
		f.add(at, "the file has Source and Text: give one")
	case file.Text != "" && file.Digest != "":
		f.add(at+"/Digest", "a Text has no digest: drop it")
	case file.Source == "" && file.Text == "" && file.Digest == "":
		f.add(at, "the file has no content: give it a Source or a Text")
	case strings.Contains(file.Source, "\x00"):
		f.add(at+"/Source", "%.60q is no file: write its path, from the folder of the set's file", file.Source)
	case len(file.Text) > mostText:
		f.add(at+"/Text", "the text has %d bytes and stands in a label, which takes %d: write it into a file, and that into Source", len(file.Text), mostText)
	}
	if file.Digest != "" && !digestForm.MatchString(file.Digest) {
		f.add(at+"/Digest", "%.80q is no digest: drop it, and name the Source", file.Digest)
	}
}
