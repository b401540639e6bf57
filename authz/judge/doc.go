// Package judge compares a request with a policy: who sends it, what it does, to
// which objects, and whether what it makes stays within the limits. It only
// decides; what it must know of an Engine's objects it asks of a [Lookup].
//
// Some rules are no matter of policy. They hold for all whose profile is not
// trusted with infra containers:
//
//   - exec, attach, copy, commit, rename and changes of networks are not done to
//     the infra container of a set;
//   - a volume of mos-lvm that is in use is not removed;
//   - labels of sets are given to containers of the shape of sets only, see
//     shape.go;
//   - no container is named like the beginning of an id, since such a name and the
//     id of somebody else's container could be exchanged between the decision and
//     the act.
package judge
