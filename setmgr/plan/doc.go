// Package plan decides what leads from what is there to what is wished: steps with
// their causes, each one change of the outside that may be repeated. It is pure:
// the same spec and the same observation give the same plan, which is printed by
// docker set plan and by --dry-run.
package plan
