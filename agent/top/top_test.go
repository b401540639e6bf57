package top

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/hostsrv/api"
)

// agent is one whose samples a test makes.
type agent struct{ metric.Sample }

func (a *agent) view(f func(*metric.Sample)) { f(&a.Sample) }

// round is the next sample, some seconds later.
func (a *agent) round(seconds int, set func()) {
	a.Time = a.Time.Add(time.Duration(seconds) * time.Second)
	set()
}

func of(t api.Top, name string) api.Use {
	for _, u := range t.Uses {
		if u.Name == name {
			return u
		}
	}
	return api.Use{}
}

func TestRatesAreOfTheLastTwoSamples(t *testing.T) {
	synctest.Test(t, ratesAreOfTheLastTwoSamples)
}

func ratesAreOfTheLastTwoSamples(t *testing.T) {
	host := metric.NewPoint(&metric.Object{Scope: metric.Host, ID: "h1", Name: "h1"})
	app := metric.NewPoint(&metric.Object{Scope: metric.Container, ID: "1", Name: "web.app", Set: "web", Member: "app"})
	self := metric.NewPoint(&metric.Object{Scope: metric.Agent, ID: "h1", Name: "h1"})
	a := &agent{metric.Sample{Time: time.Unix(1000, 0), Host: "h1", Points: []*metric.Point{host, app, self}}}
	disk, other := app.Add(metric.IOWriteBytes, "a"), app.Add(metric.IOWriteBytes, "b")
	set := func(cpu, written float64) func() {
		return func() {
			host.Set(metric.CPUUsage, 10*cpu)
			host.Set(metric.Cores, 4)
			host.Set(metric.MemTotal, 1000)
			host.Set(metric.MemAvailable, 400)
			app.Set(metric.CPUUsage, cpu)
			app.Set(metric.CPULimit, 0.5)
			app.Set(metric.CPUThrottled, cpu/10)
			app.Set(metric.MemWorkingSet, 100)
			app.Set(metric.MemLimit, 400)
			app.SetAt(disk, written)
			app.SetAt(other, 2*written)
		}
	}
	a.round(0, set(1, 1000))
	k := New(a.view)
	// The first who asks waits.
	go func() {
		time.Sleep(time.Second)
		k.mu.Lock() // as the agent would
		a.round(2, set(1.5, 1100))
		k.mu.Unlock()
	}()
	got, err := k.Top(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u := of(got, "web.app")
	want := api.Use{
		Scope: "container", Name: "web.app", Set: "web", Member: "app", CPU: 0.25, CPULimit: 0.5, CPUPercent: 50, Throttled: 2.5,
		Memory: 100, MemoryLimit: 400, MemoryPercent: 25, Read: -1, Written: 150, Received: -1, Sent: -1,
		WaitCPU: -1, WaitMemory: -1, WaitIO: -1, Threads: -1, Kills: -1,
	}
	u.Throttled = float64(int(u.Throttled*1000+0.5)) / 1000
	if u != want || got.Over != 2 || got.Host != "h1" || len(got.Uses) != 2 {
		t.Errorf("got %+v\nin %+v", u, got)
	}
	if h := of(got, "h1"); h.CPU != 2.5 || h.CPUPercent != 62.5 || h.Memory != 600 || h.MemoryPercent != 60 {
		t.Errorf("got %+v", h)
	}
	// One who wants the host only has nothing else, and waits for nothing.
	narrow := NewOf(a.view, metric.Host)
	if _, ok := narrow.Latest(); ok {
		t.Error("one sample is enough for rates")
	}
	// Asked again at once it says the same; a container that is new, or was started anew,
	// has no rates but of what it did since.
	if again, err := k.Top(t.Context()); err != nil || of(again, "web.app") != of(got, "web.app") {
		t.Errorf("got %+v, %v", again, err)
	}
	fresh := metric.NewPoint(&metric.Object{Scope: metric.Container, ID: "2", Name: "new"})
	a.round(1, func() {
		set(0.1, 50)()
		fresh.Set(metric.CPUUsage, 100)
		a.Points = append(a.Points, fresh)
	})
	if got, err = k.Top(t.Context()); err != nil || of(got, "web.app").CPU != 0 || of(got, "new").CPU != -1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if top, ok := narrow.Latest(); !ok || len(top.Uses) != 1 || top.Uses[0].Scope != "host" || top.Over != 1 {
		t.Errorf("got %+v, %v", top, ok)
	}
	// After a long while nobody is told of the time since.
	a.round(3600, set(1000, 5000))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := k.Top(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Error(err)
	}
}
