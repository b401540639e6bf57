package lvmtest

import (
	"os"
	"testing"
	"time"
)

// TestLostDeviceIsGone: a device that somebody has open goes only when it is closed.
func TestLostDeviceIsGone(t *testing.T) {
	r := Start(t, false, mib)
	f, err := os.Open(r.Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { _ = f.Close() })
	r.Machine().Lose(t, r.Devices[0])
	if of, err := backing(r.Devices[0]); err == nil {
		t.Errorf("it is still of %s", of)
	}
}
