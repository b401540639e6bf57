// Package scheduler joins the parts of the scheduler: the resources of scheduler/api as
// they are stored become the hosts and asks of scheduler/place, which knows no API.
package scheduler
