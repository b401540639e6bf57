// Package client asks the scheduler's API (scheduler/server) in Go:
//
//	c, err := client.New("unix:///run/mos/scheduler.sock", client.Options{})
//	s, err := client.Create(ctx, c, &service, client.Change{Wait: time.Minute})
//	for change, err := range client.Watch[api.Service](ctx, c, page.Revision) { … }
//
// Errors are [*api.Problem] where the API answered, and of class Unavailable where it did
// not. A [Client] is safe for concurrent use.
package client
