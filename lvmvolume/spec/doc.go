// Package spec is what a volume is: the typed, checked form of a request, the
// table of options, and the two forms in which a volume's record is kept, LVM
// tags and JSON. It only decides.
package spec
