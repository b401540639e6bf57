// Package label is the names of the labels by which the containers of sets are
// found, and what stands in them: everything about a container that never changes
// in its life.
package label

// The labels. A set is all containers whose label Set has its name.
const (
	Set    = "mos.set"    // name of the set
	Role   = "mos.role"   // RoleInfra or RoleMember
	Member = "mos.member" // name of a member container in its set
	Index  = "mos.index"  // of a member, decimal
	// Rev counts the containers that a member was, from 1 on, decimal.
	Rev = "mos.rev"
	// Hash is of what the user wrote about this container, see spec.Hash.
	Hash = "mos.hash"
	// Spec is what the user wrote, as compact JSON: of an infra container the set
	// without its members, of a member its own part.
	Spec = "mos.spec"
	// History is of a member what it was before, see plan.Revision, as JSON.
	History = "mos.history"
	// Cluster is on containers of sets that a cluster has here: the cluster's mark and the
	// UID of the set, with a slash between them.
	Cluster = "mos.cluster"
	// Owner says whose a container is, where several share an Engine; mos-authz goes by it.
	Owner = "mos.owner"
)

// The roles.
const (
	RoleInfra  = "infra"
	RoleMember = "member"
)
