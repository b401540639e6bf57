package plan

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// TestDiffSaysEachDifferenceOnce, and nothing that only follows from another.
func TestDiffSaysEachDifferenceOnce(t *testing.T) {
	for name, c := range map[string]struct {
		spec func(*spec.Set)
		seen func(*Observed)
		want []string
	}{
		"nothing": {},
		"another total, of which containers have shares": {
			spec: func(s *spec.Set) { s.CPU, s.MEM = 6, 4<<30 },
			want: []string{"set: CPU: 4, want 6", "set: MEM: 8g, want 4g"},
		},
		"another share": {
			spec: func(s *spec.Set) { s.CPU, s.Containers[2].Options.CPU = 6, 5 },
			want: []string{"set: CPU: 4, want 6", "log: CPU: 0.4, want 0.3"},
		},
		"options": {
			spec: func(s *spec.Set) {
				s.Containers[0].Options.Env = map[string]string{"MODE": "fast"}
				s.Containers[1].Image = "redis:9"
			},
			want: []string{`app: Env: none, want {"MODE":"fast"}`, `cache: Image: "redis:8", want "redis:9"`},
		},
		"another network": {
			spec: func(s *spec.Set) { s.Network.IP = "10.9.0.22" },
			want: []string{`set: Network.IP: "10.9.0.21", want "10.9.0.22"`},
		},
		"a container more, one less": {
			spec: func(s *spec.Set) { s.Containers[1].Name = "store" },
			want: []string{"store: container: none, want redis:8", "cache: container: redis:8, want none"},
		},
		"an image that was pulled again": {
			seen: func(o *Observed) { o.Images["redis:8"] = "sha256:0123456789abcdef" },
			want: []string{"cache: what image redis:8 means: sha256:redis:8, want sha256:0123456789ab"},
		},
		"one that was stopped": {
			seen: func(o *Observed) {
				o.Members[1].State, o.Members[1].ExitCode, o.Members[1].Restart = Exited, 137, "no"
			},
			want: []string{"cache: state: exited (137), want running", "cache: restart policy: no, want always"},
		},
		"a set that was stopped": {
			seen: func(o *Observed) {
				o.Infra.State, o.Infra.Restart = Exited, "no"
				for i := range o.Members {
					o.Members[i].State, o.Members[i].Restart = Exited, "no"
				}
			},
			want: []string{"set: state: stopped, want running"},
		},
		"a dead infra": {
			seen: func(o *Observed) { o.Infra.State = Exited },
			want: []string{"set: state of the infra container: exited, want running"},
		},
		"no infra": {
			seen: func(o *Observed) { o.Infra = nil },
			want: []string{"set: infra container: none, want web.infra"},
		},
		"nothing there": {
			seen: func(o *Observed) { o.Infra, o.Members = nil, nil },
			want: []string{"set: set web: none, want 3 containers"},
		},
		"a volume that is to grow": {
			seen: func(o *Observed) { o.Sizes = map[string]spec.Bytes{"web-data": 10 << 30} },
			want: []string{"set: size of volume web-data: 10g, want 20g"},
		},
		"a network that it was taken off": {
			seen: func(o *Observed) { o.Infra.Nets = nil },
			want: []string{"set: network: none, want prod"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			s := web(t)
			w.up(t, s)
			o := w.seen()
			slices.SortFunc(o.Members, func(a, b Container) int {
				return slices.Index([]string{"app", "cache", "log"}, a.Member) - slices.Index([]string{"app", "cache", "log"}, b.Member)
			})
			if c.spec != nil {
				c.spec(&s)
			}
			if c.seen != nil {
				c.seen(&o)
			}
			p, err := Up(s, o, Options{InfraImage: "mos-infra:1", Recreate: true})
			var got []string
			for _, d := range Diff(s, o, p) {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if err != nil || len(p.Steps) > 0 != (len(got) > 0) {
				t.Errorf("up has %d steps for these, %v:\n%s", len(p.Steps), err, p)
			}
		})
	}
}
