// Package policy is what a policy file says, and the decision on one action on
// one object. It only decides.
//
// A policy names subjects and gives each a profile. A profile is a list of rules,
// of which the first that fits decides; when none fits, the answer is no. What a
// new container, volume or network may be made of is bounded by the profile's
// limits, see [Limits]; package judge compares requests with them.
package policy
