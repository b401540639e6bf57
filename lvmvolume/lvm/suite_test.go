package lvm_test

import (
	"testing"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm/lvmtest"
)

const mib = 1 << 20

func TestFakeBehavesAsLVM(t *testing.T) {
	lvmtest.Suite(t, func(t *testing.T) lvmtest.Machine {
		t.Helper()
		return lvmtest.NewFake(320*mib, 320*mib).Machine(t)
	})
}

func TestMetadataOnly(t *testing.T) {
	lvmtest.Suite(t, func(t *testing.T) lvmtest.Machine {
		t.Helper()
		return lvmtest.Start(t, false, 320*mib, 320*mib).Machine()
	})
}

func TestDMSuite(t *testing.T) {
	lvmtest.Suite(t, func(t *testing.T) lvmtest.Machine {
		t.Helper()
		return lvmtest.Start(t, true, 320*mib, 320*mib).Machine()
	})
}
