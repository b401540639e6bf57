package testx

import (
	"os"
	"path/filepath"
)

// EngineVersion is the version of the newest Engine that the tests run on.
// test/setup/engine builds it.
const EngineVersion = "v2.0.0-beta.24"

// ComposeVersion is the version of docker compose that benchmarks run beside ours.
// test/setup/compose builds it.
const ComposeVersion = "v5.6.0"

// CadvisorVersion is the version of cAdvisor that benchmarks run beside our agent.
// test/setup/cadvisor builds it.
const CadvisorVersion = "v0.60.5"

// TelegrafVersion is the version of telegraf that benchmarks run beside our agent.
// test/setup/telegraf builds it.
const TelegrafVersion = "v1.37.2"

// Cache returns the folder outside the repository for what is built once and
// kept, such as engines and images: MOS_CACHE, or mosdocker in the user's cache
// folder. It may not exist yet.
func Cache() string {
	if dir := os.Getenv("MOS_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil { // no home: as in a bare unit of systemd
		dir = os.TempDir()
	}
	return filepath.Join(dir, "mosdocker")
}

// EngineDir returns the folder that holds dockerd and runc of the newest
// Engine. It may not exist yet.
func EngineDir() string { return filepath.Join(Cache(), "engine-"+EngineVersion) }

// ComposeDir returns the folder that holds docker compose. It may not exist yet.
func ComposeDir() string { return filepath.Join(Cache(), "compose-"+ComposeVersion) }

// CadvisorDir returns the folder that holds cAdvisor. It may not exist yet.
func CadvisorDir() string { return filepath.Join(Cache(), "cadvisor-"+CadvisorVersion) }

// TelegrafDir returns the folder that holds telegraf. It may not exist yet.
func TelegrafDir() string { return filepath.Join(Cache(), "telegraf-"+TelegrafVersion) }
