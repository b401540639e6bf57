// Package setmgr runs sets on a Docker Engine: an infra container that holds
// network, volume and IPC, and member containers that share them, capped as a whole.
//
// Every verb is the same path: the spec that the user wrote and what Observe finds
// by the labels of containers go into package plan, which is pure and gives steps
// with their causes; run takes them, each one call of the Engine or one change of
// the set's cgroup parent. Nothing is kept but in Docker: what never changes in a
// container's life is on its labels, limits are in its HostConfig, the set's total
// in that of the infra container.
//
//	web.json ─► spec.Decode ─► Set ─┐
//	                               ├─► plan.Up ─► Plan ─► run ─► Engine, cgroup parent
//	Engine ──► Observe ─► Observed ─┘       └─► printed by plan, --dry-run
//
// Containers are named SET.infra and SET.MEMBER; one that is being replaced by
// another is SET.MEMBER.rN. Labels: see package label.
package setmgr
