package control

import (
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/scheduler/api"
)

// TestHealth: a host is as it was heard; when it was the leader that was silent, or is new, none
// gets worse for what was missed meanwhile, and one that was lost is not back without a word.
func TestHealth(t *testing.T) {
	const never = time.Hour
	now := time.Now()
	for _, c := range []struct {
		was           api.Health
		heard, graced time.Duration // ago; graced is the end of the grace
		want          api.Health
	}{
		{"", never, time.Minute, ""},
		{"", 0, time.Minute, api.Healthy},
		{api.Healthy, time.Second, time.Minute, api.Healthy},
		{api.Healthy, 7 * time.Second, time.Minute, api.Suspect},
		{api.Suspect, 9 * time.Second, time.Minute, api.Lost},
		{api.Lost, time.Second, time.Minute, api.Healthy},
		{api.Lost, 7 * time.Second, time.Minute, api.Suspect},
		{api.Healthy, 9 * time.Second, 0, api.Healthy},
		{api.Healthy, 30 * time.Second, 7 * time.Second, api.Suspect},
		{api.Healthy, 30 * time.Second, 9 * time.Second, api.Lost},
		{api.Suspect, 9 * time.Second, 0, api.Suspect},
		{api.Suspect, time.Second, 0, api.Healthy},
		{api.Lost, 30 * time.Second, 0, api.Lost},
		{api.Lost, 30 * time.Second, -time.Second, api.Lost},
		{api.Lost, time.Second, 0, api.Healthy},
		{api.Healthy, never, 0, api.Healthy},
		{api.Healthy, never, 9 * time.Second, api.Lost},
		{api.Suspect, never, 0, api.Suspect},
		{api.Lost, never, 0, api.Lost},
	} {
		l := &leader{Controller: New(nil, Config{Heartbeat: 2 * time.Second, Lease: 8 * time.Second}), own: &lead{beats: map[string]*beat{}}, grace: now.Add(-c.graced)}
		if c.heard != never {
			l.own.beats["h"] = &beat{at: now.Add(-c.heard)}
		}
		h := &api.Host{Meta: api.Meta{Name: "h"}, Status: api.HostStatus{Health: c.was}}
		if got := l.health(h, now); got != c.want {
			t.Errorf("%q, heard %v ago, %v after the grace: %q, want %q", c.was, c.heard, c.graced, got, c.want)
		}
	}
}

// TestAHostWithoutItsEngine is lost after a while although it is heard, and not back before its
// Engine is.
func TestAHostWithoutItsEngine(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		was           api.Health
		stuck, graced time.Duration // ago; graced is the end of the grace
		want          api.Health
	}{
		{api.Healthy, 59 * time.Second, time.Hour, api.Healthy},
		{api.Healthy, 61 * time.Second, time.Hour, api.Lost},
		{api.Healthy, 61 * time.Second, time.Second, api.Healthy},
		{api.Lost, time.Second, time.Hour, api.Lost},
		{api.Lost, time.Second, 0, api.Lost},
		{api.Suspect, time.Second, time.Hour, api.Healthy},
	} {
		b := &beat{at: now, stuck: now.Add(-c.stuck)}
		l := &leader{Controller: New(nil, Config{}), own: &lead{beats: map[string]*beat{"h": b}}, grace: now.Add(-c.graced)}
		h := &api.Host{Meta: api.Meta{Name: "h"}, Status: api.HostStatus{Health: c.was}}
		if got := l.health(h, now); got != c.want {
			t.Errorf("%q, in trouble for %v, %v after the grace: %q, want %q", c.was, c.stuck, c.graced, got, c.want)
		}
	}
}
