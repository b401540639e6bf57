package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
)

var results table // filled by the benchmarks of this run

func TestMain(m *testing.M) {
	if what := os.Getenv(bareEnv); what != "" {
		fmt.Println(serveBare(what))
		os.Exit(1)
	}
	code := m.Run()
	lab.Remove()
	if text := results.String(); text != "" {
		fmt.Print(text)
		if dir := os.Getenv(testx.ArtifactsEnv); dir != "" {
			err := os.MkdirAll(dir, 0o755)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "bench.txt"), []byte(text), 0o600)
			}
			if err != nil {
				fmt.Println(err)
			}
		}
	}
	os.Exit(code)
}
