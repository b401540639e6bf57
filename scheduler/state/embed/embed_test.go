package embed_test

import (
	"os"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
)

func TestMain(m *testing.M) { os.Exit(statetest.Main(m)) }

// start runs a server of this process in a new folder.
func start(tb testing.TB, c embed.Config) *embed.Server {
	tb.Helper()
	if c.Dir == "" {
		c.Dir = tb.TempDir()
	}
	c.Log = testx.Logger(tb)
	s, err := embed.Start(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	statetest.Suite(t, start(t, embed.Config{}).Client())
}

func TestExternal(t *testing.T) {
	t.Parallel()
	c := statetest.Start(t, 3)
	statetest.Suite(t, c.Client(t))
}
