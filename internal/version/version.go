package version

import "runtime/debug"

// String returns the module's version, such as v1.2.0, or else the commit it
// was built from, such as "commit 0c74cdac8a85"; "-dirty" follows when the tree
// was changed. Programs built in no tree, such as tests, are "devel".
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	var commit, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if commit == "" {
		return "devel"
	}
	return "commit " + commit[:min(12, len(commit))] + dirty
}
