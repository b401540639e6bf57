package spec

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestAmounts reads each amount as text and as a number; an empty want is a refusal.
func TestAmounts(t *testing.T) {
	cores := func(n *node) (string, error) { v, err := readCores(n); return v.String(), err }
	size := func(n *node) (string, error) { v, err := readBytes(n); return v.String(), err }
	duration := func(n *node) (string, error) { v, err := readDuration(n); return v.String(), err }
	for _, tt := range []struct {
		read     func(*node) (string, error)
		kind     kind
		in, want string
	}{
		{cores, number, "1.5", "1.5"},
		{cores, number, "4", "4"},
		{cores, number, "1e2", "100"},
		{cores, text, "1.5", "1.5"},
		{cores, text, "1500m", "1.5"},
		{cores, text, "1m", "0.001"},
		{cores, number, "1e999", ""},
		{cores, number, "0x10", ""},
		{cores, number, "010", ""},
		{cores, number, ".5", ""},
		{cores, number, ".inf", ""},
		{cores, number, "1_000", ""},
		{cores, text, "-1", ""},
		{cores, text, "nan", ""},
		{cores, text, "1.", ""},
		{cores, text, ".5", ""},
		{cores, text, "", ""},
		{cores, text, "m", ""},
		{cores, text, "1.5.5", ""},
		{cores, text, strings.Repeat("9", 400), ""},
		{cores, boolean, "true", ""},

		{size, number, "0", "0"},
		{size, number, "1024", "1k"},
		{size, number, "1025", "1025"},
		{size, text, "1073741824", "1g"},
		{size, text, "512m", "512m"},
		{size, text, "8G", "8g"},
		{size, text, "8gb", "8g"},
		{size, text, "8GiB", "8g"},
		{size, text, "1.5g", "1536m"},
		{size, text, "1p", "1024t"},
		{size, text, "7b", "7"},
		{size, number, "9223372036854775807", "9223372036854775807"},
		{size, number, "9223372036854775808", ""},
		{size, number, "1.5", ""},
		{size, number, "1e9", ""},
		{size, number, "-1", ""},
		{size, number, "007", ""},
		{size, text, "", ""},
		{size, text, "big", ""},
		{size, text, "-1g", ""},
		{size, text, "8 g", ""},
		{size, text, "1_000", ""},
		{size, text, "1.2.3g", ""},
		{size, text, "1.g", ""},
		{size, text, "8x", ""},
		{size, text, "9999999p", ""},
		{size, text, "1e9", ""},
		{size, list, "", ""},

		{duration, text, "1m30s", "1m30s"},
		{duration, text, "90s", "1m30s"},
		{duration, text, "5m", "5m"},
		{duration, text, "2h0m0s", "2h"},
		{duration, text, "1h0m5s", "1h0m5s"},
		{duration, text, "10m", "10m"},
		{duration, text, "20s", "20s"},
		{duration, text, "0", "0s"},
		{duration, text, "1.5ms", "1.5ms"},
		{duration, number, "30", ""},
		{duration, text, "30", ""},
		{duration, text, "", ""},
		{duration, text, "soon", ""},
		{duration, text, "9999999h", ""},
	} {
		got, err := tt.read(&node{kind: tt.kind, text: tt.in})
		if (err == nil) != (tt.want != "") || err == nil && got != tt.want {
			t.Errorf("%s %q: got %q, %v, want %q", tt.kind, tt.in, got, err, tt.want)
		}
	}
}

func TestAmountsPrint(t *testing.T) {
	for want, got := range map[string]string{
		"0": Bytes(0).String(), "6m": leastMemory.String(), "1.005": Cores(1.005).String(), "0s": Duration(0).String(),
		"1h": Duration(time.Hour).String(), "10m": Duration(10 * time.Minute).String(),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestLimitsOf: percents become what an Engine is told, never more than the set has.
func TestLimitsOf(t *testing.T) {
	for _, tt := range []struct {
		cpu   Cores
		mem   Bytes
		o     Options
		cores Cores
		bytes Bytes
	}{
		{4, 8 << 30, Options{CPU: 80, MEM: 70}, 3.2, 6012952576},
		{4, 8 << 30, Options{}, 0, 0},
		{0, 0, Options{CPU: 80, MEM: 70}, 0, 0},
		{4, 8 << 30, Options{CPU: 100, MEM: 100}, 4, 8 << 30},
		{1, 40960, Options{CPU: 33.33, MEM: 10}, 0.34, 4096},
		{1, 40960, Options{CPU: 1, MEM: 30}, 0.01, 12288},
		{3, 40959, Options{CPU: 0.1, MEM: 10}, 0.01, 0},
		{1.005, 0, Options{CPU: 100}, 1.005, 0},
		{0, 0, Options{Cores: 1.501, Memory: 6<<20 + 1}, 1.51, 6 << 20},
		{2, 1 << 30, Options{Cores: 0.29, Memory: 1 << 29}, 0.29, 1 << 29},
		{64, 1 << 50, Options{CPU: 57, MEM: 57}, 36.48, 641762946900295},
	} {
		s := Set{CPU: tt.cpu, MEM: tt.mem}
		cores, memory := s.LimitsOf(Container{Options: tt.o})
		if math.Abs(float64(cores-tt.cores)) > 1e-9 || memory != tt.bytes/page*page {
			t.Errorf("%+v of %v, %v: got %v, %d, want %v, %d", tt.o, tt.cpu, tt.mem, cores, memory, tt.cores, tt.bytes)
		}
	}
}
