package ipamtest_test

import (
	"testing"

	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/ipam/ipamtest"
)

func TestMemIsAStore(t *testing.T) {
	ipamtest.Suite(t, func() ipam.Store { return &ipamtest.Mem{} })
}
