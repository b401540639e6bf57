// Package steps runs a list of outside changes in order, and takes back what
// was done when one of them fails.
//
// A step's Do is repeatable: running it where its effect is already there is
// well. A step's Undo takes back whatever Do left, also when Do failed half-way
// or never had an effect; so the undoing starts with the failed step itself.
package steps
