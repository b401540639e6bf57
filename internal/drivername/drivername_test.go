package drivername_test

import (
	"testing"

	"github.com/mosdocker/mosdocker/internal/drivername"
)

func TestIs(t *testing.T) {
	for _, have := range []string{"mosbridge", "mosbridge:latest", "mosbridge:1.2", "shop/mosbridge:latest", "127.0.0.1:5000/mosbridge:latest", "127.0.0.1:5000/a/mosbridge"} {
		if !drivername.Is(have, "mosbridge") {
			t.Errorf("%q is not taken for mosbridge", have)
		}
	}
	for _, have := range []string{"", ":", "/", "mosbridge2", "mosbridge2:latest", "bridge", "mosbridge/x:latest", "x:mosbridge"} {
		if drivername.Is(have, "mosbridge") {
			t.Errorf("%q is taken for mosbridge", have)
		}
	}
}
