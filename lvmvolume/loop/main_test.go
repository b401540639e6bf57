package loop_test

import (
	"os"
	"testing"

	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

func TestMain(m *testing.M) { os.Exit(looptest.Main(m)) }
