package robust

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/mosdocker/mosdocker/test/rig"
)

// ground is what a scene is built on.
type ground struct {
	engine rig.Engine
	live   bool
}

func (g ground) String() string {
	if g.live {
		return string(g.engine) + "_live"
	}
	return string(g.engine)
}

func grounds() []ground {
	var out []ground
	for _, e := range rig.Engines() {
		out = append(out, ground{e, false}, ground{e, true})
	}
	return out
}

// TestRestartPairs is the restart matrix. In the short form it takes a sample in
// which every actor comes first and second at least once, dealt out over the
// engines; with MOS_FULL=1 every actor alone and every order of two on every
// ground, from case MOS_FROM on.
func TestRestartPairs(t *testing.T) {
	from, n, seed := number(t, "MOS_FROM", 1), 0, seed(t)
	for _, g := range grounds() {
		cases := sample(chance(seed), g)
		if full() {
			cases = everyPair()
		}
		t.Run(g.String(), func(t *testing.T) {
			var s *scene
			for _, b := range cases {
				if n++; n < from {
					continue
				}
				if s == nil {
					s = newScene(t, g.engine, g.live)
				}
				if !t.Run(fmt.Sprintf("%d_%s", n, b), func(t *testing.T) { s.survives(t, b) }) {
					s.people(t)
				}
			}
		})
	}
}

// everyPair is each actor alone and each order of two.
func everyPair() []breach {
	var out []breach
	for _, a := range actors() {
		out = append(out, breach{a})
		for _, b := range actors() {
			out = append(out, breach{a, b})
		}
	}
	return out
}

// sample is one ground's share of twelve cases: the pairs of neighbours in a
// shuffled ring of all actors, and two more by chance.
func sample(r *rand.Rand, g ground) []breach {
	ring := actors()
	r.Shuffle(len(ring), func(i, j int) { ring[i], ring[j] = ring[j], ring[i] })
	var all []breach
	for i, a := range ring {
		all = append(all, breach{a, ring[(i+1)%len(ring)]})
	}
	for range 2 {
		all = append(all, breach{ring[r.IntN(len(ring))], ring[r.IntN(len(ring))]})
	}
	var out []breach
	for i, b := range all {
		if grounds()[i%len(grounds())] == g {
			out = append(out, b)
		}
	}
	return out
}
