package server

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/mosdocker/mosdocker/scheduler/api"
)

// pace bounds how fast each caller may ask.
type pace struct {
	every rate.Limit // requests a second; 0 is no bound
	burst int

	mu  sync.Mutex // guards all below
	all map[Caller]*rate.Limiter
}

// mostPaces bounds how many callers are kept; then all begin anew.
const mostPaces = 10_000

// wait says how long a caller has to wait before it may ask.
func (p *pace) wait(c Caller, now time.Time) time.Duration {
	if p.every == 0 {
		return 0
	}
	p.mu.Lock()
	of := p.all[c]
	if of == nil {
		if p.all == nil || len(p.all) >= mostPaces {
			p.all = map[Caller]*rate.Limiter{}
		}
		of = rate.NewLimiter(p.every, p.burst)
		p.all[c] = of
	}
	p.mu.Unlock()
	r := of.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now) // who is refused costs nothing
	}
	return wait
}

// tooFast is the answer to who has to wait, and the Retry-After of it in seconds.
func tooFast(c Caller, wait time.Duration) (*api.Problem, string) {
	after := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	return api.ProblemOf(http.StatusTooManyRequests, c.Name+" ("+string(c.Role)+") asks too often: ask again in "+after+" s"), after
}
