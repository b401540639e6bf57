// Package probe is run in the warm VM by the tests of the rig.
package probe

// Double returns twice n, in two lines that a coverage profile tells apart.
func Double(n int) int {
	if n == 0 {
		return 0
	}
	return 2 * n
}
