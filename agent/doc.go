// Package agent measures the containers, sets and the host that it runs on, at
// almost no cost and without a question to the Engine: it goes on while dockerd
// hangs or is away.
//
//	cgroup   which containers run, from the cgroup trees            (looks when folders come or go)
//	docker   their names, labels, volumes, from the Engine's files  (read once, and when they change)
//	read     their values, from files that are kept open            (each interval)
//	metric   the table of metrics, and the sample that holds values
//	sink     where samples go
//
// An [Agent] has one goroutine that measures. A sample is lent to the sinks in
// that goroutine; they copy what they send and do the rest in their own. A round
// with nothing new allocates nothing.
package agent
