package spec

import (
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func texts(of ...string) *rapid.Generator[[]string] {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, 3, rapid.ID[string])
}

func pairs(keys ...string) *rapid.Generator[map[string]string] {
	return rapid.MapOfN(rapid.SampledFrom(keys), rapid.SampledFrom([]string{"1", "1:2", "4096"}), 0, 2)
}

func settings() *rapid.Generator[map[string]string] {
	return rapid.MapOfN(rapid.SampledFrom([]string{"cpu.max.burst", "cpu.weight", "pids.max"}), rapid.SampledFrom([]string{"1", "4096"}), 0, 2)
}

func one(of ...string) *rapid.Generator[string] {
	return rapid.SampledFrom(append(of, ""))
}

func durations() *rapid.Generator[Duration] {
	return rapid.Map(rapid.IntRange(0, 1<<22), func(ms int) Duration { return Duration(ms) * Duration(time.Millisecond) })
}

// optional is v, or nil as often.
func optional[T any](t *rapid.T, draw func() T) *T {
	if rapid.Bool().Draw(t, "given") {
		return nil
	}
	return new(draw())
}

// drawSet is a set that can be meant.
func drawSet(t *rapid.T) Set {
	s := Set{
		Name:       rapid.StringMatching(`[a-zA-Z0-9][a-zA-Z0-9_-]{1,39}`).Draw(t, "name"),
		CPU:        Cores(rapid.IntRange(1000, 1<<20).Draw(t, "millis")) / 1000,
		MEM:        Bytes(rapid.Uint64Range(1<<30, 1<<45).Draw(t, "mem")),
		Overcommit: rapid.Bool().Draw(t, "overcommit"), Cgroup: settings().Draw(t, "whole"),
		Network: Network{
			Name: "prod", IP: one("10.9.0.21").Draw(t, "ip"), MAC: one("02:42:0a:09:00:15").Draw(t, "mac"),
			Aliases: texts("a", "b.c").Draw(t, "aliases"), Options: pairs("mos.rate.in", "ä/~").Draw(t, "options"),
		},
		Hostname: one("a", "b.c").Draw(t, "hostname"), DNS: DNS{Search: texts("x.y", ".").Draw(t, "search")},
		Ports: texts("80:80", "81-83:80-82/udp", "443").Draw(t, "ports"), Sysctls: pairs("net.a", "kernel.sem").Draw(t, "sysctls"),
		SHM: Bytes(rapid.Uint64().Draw(t, "shm") >> 1), Labels: pairs("a", "b/c").Draw(t, "labels"),
		Volume: optional(t, func() Volume {
			return Volume{Size: Bytes(rapid.Uint64Range(0, 1<<40).Draw(t, "size")), Path: one("/v").Draw(t, "path")}
		}),
	}
	n := rapid.IntRange(1, 4).Draw(t, "containers")
	for i := range n {
		c := Container{Index: i / 2, Name: "c" + strconv.Itoa(i), Image: "shop/app:" + strconv.Itoa(i)}
		drawOptions(t, s, &c.Options, 100/float64(n))
		if i > 0 && rapid.Bool().Draw(t, "waits") {
			c.Options.DependsOn = []Dependency{{"c" + strconv.Itoa(i-1), Condition(one("started").Draw(t, "condition"))}}
		}
		s.Containers = append(s.Containers, c)
	}
	return s
}

func drawOptions(t *rapid.T, s Set, o *Options, share float64) {
	*o = Options{
		CPU: rapid.Float64Range(0.01, share).Draw(t, "cpu"), MEM: rapid.Float64Range(1, share).Draw(t, "mem"),
		Command: rapid.SliceOfN(rapid.StringMatching(`[^\x00]*`), 0, 3).Draw(t, "command"),
		Env:     rapid.MapOfN(rapid.StringMatching(`[A-Za-z_./~-]+`), rapid.StringMatching(`[^\x00]*`), 0, 3).Draw(t, "env"),
		User:    one("1000:1000").Draw(t, "user"), TTY: rapid.Bool().Draw(t, "tty"), Cgroup: settings().Draw(t, "cgroup"), Ulimits: pairs("core", "nofile").Draw(t, "ulimits"),
		CapAdd: texts("NET_ADMIN", "ALL").Draw(t, "cap"), PIDs: rapid.IntRange(0, 1<<20).Draw(t, "pids"),
		OOMScoreAdj: rapid.IntRange(-1000, 1000).Draw(t, "oom"), Once: rapid.Bool().Draw(t, "once"),
		Ready:  optional(t, func() Probe { return Probe{TCP: 80, Deadline: durations().Draw(t, "deadline")} }),
		Health: optional(t, func() Health { return Health{Cmd: []string{"CMD", "/ok"}, Interval: durations().Draw(t, "interval")} }),
		Stop:   Stop{Signal: one("SIGHUP", "9").Draw(t, "signal"), Grace: optional(t, func() Duration { return durations().Draw(t, "grace") })},
		Update: Update{Strategy: Strategy(one("overlap", "swap", "restart").Draw(t, "strategy")), MinReady: durations().Draw(t, "min")},
	}
	if o.Update.Strategy == Overlap && o.Health == nil {
		o.Ready = &Probe{Exec: []string{"/ok"}}
	}
	if rapid.Bool().Draw(t, "absolute") {
		o.CPU, o.Cores = 0, Cores(rapid.IntRange(10, int(float64(s.CPU)*10*share)).Draw(t, "cores"))/1000
		o.MEM, o.Memory = 0, Bytes(rapid.Uint64Range(6<<20, uint64(float64(s.MEM)*share/100)).Draw(t, "memory"))
	}
	if s.Volume != nil {
		o.Mounts = append(o.Mounts, Mount{Type: MountType(one("set").Draw(t, "type")), Path: "/a", Subpath: one("x/y").Draw(t, "subpath")})
	}
	o.Mounts = append(o.Mounts, Mount{Type: MountTmpfs, Path: "/b", Size: Bytes(rapid.Uint32().Draw(t, "tmpfs"))})
}

// bare takes away what says nothing, as a file that is read has it.
func bare[T any](v T) T {
	strip(reflect.ValueOf(&v).Elem())
	return v
}

func strip(v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		strip(v.Elem())
	case v.Kind() == reflect.Struct:
		for _, f := range v.Fields() {
			strip(f)
		}
	case (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0:
		v.SetZero()
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			strip(v.Index(i))
		}
	}
}

// TestValidSetsSurvive: what can be meant passes the check, is written, passes the
// schema, and is read as the same with the same hashes; what its containers may use
// is no more than the set has.
func TestValidSetsSurvive(t *testing.T) {
	schema := compiled(t)
	rapid.Check(t, func(t *rapid.T) {
		want := bare(drawSet(t))
		if err := want.Check(); err != nil {
			t.Fatal(err)
		}
		data, err := Marshal(&want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode("set", data)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(&want, got); d != "" || HashSet(*got) != HashSet(want) {
			t.Fatalf("%s: %s", data, d)
		}
		if err := schema.Validate(parsed(t, data)); err != nil {
			t.Fatal(err)
		}
		part, err := DecodePart(string(data))
		if d := cmp.Diff(want, part); err != nil || d != "" {
			t.Fatal(err, d)
		}
		var memory Bytes
		for _, c := range want.Containers {
			data, err := MarshalContainer(&c)
			if err != nil {
				t.Fatal(err)
			}
			again, err := DecodeContainer(string(data))
			if d := cmp.Diff(c, again); err != nil || d != "" || HashContainer(c) != HashContainer(again) {
				t.Fatal(err, d)
			}
			cores, b := want.LimitsOf(c)
			if memory += b; cores > want.CPU || cores <= 0 || b == 0 {
				t.Fatalf("%s may use %v cores and %v", c.Name, cores, b)
			}
		}
		if memory > want.MEM {
			t.Fatalf("the containers may use %v of %v", memory, want.MEM)
		}
	})
}

// FuzzDecode: no file makes it panic, and what it takes is written and read as the same.
func FuzzDecode(f *testing.F) {
	for _, folder := range []string{"examples", "invalid"} {
		names, err := testdata(folder)
		if err != nil {
			f.Fatal(err)
		}
		for _, data := range names {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode("fuzz", data)
		if err != nil {
			if err.Error() == "" || s != nil {
				t.Fatalf("%v with %q", s, err)
			}
			return
		}
		compact, err := Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode("again", compact)
		if err != nil {
			t.Fatalf("%s: %v", compact, err)
		}
		if d := cmp.Diff(s, again); d != "" || HashSet(*s) != HashSet(*again) {
			t.Fatalf("%s: %s", compact, d)
		}
		for _, c := range s.Containers {
			s.LimitsOf(c)
		}
	})
}
