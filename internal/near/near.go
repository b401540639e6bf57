// Package near finds the word that was meant by one that is not known.
package near

import "strings"

// Fold makes shm-size, shm_size and ShmSize one.
func Fold(s string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s))
}

// Of is the one of known that differs from a folded word by a few letters only, ""
// when none does.
func Of(plain string, known []string) string {
	best, least := "", len(plain)/3+1
	for _, k := range known {
		if d := distance(plain, Fold(k), least); d < least || d == least && best == "" && d < len(plain) {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters are to be changed, added or dropped; more than most
// is not counted.
func distance(a, b string, most int) int {
	if len(a) > len(b)+most || len(b) > len(a)+most {
		return most + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := left
			if a[i] != b[j] {
				change++
			}
			left = row[j+1]
			row[j+1] = min(change, left+1, row[j]+1)
		}
	}
	return row[len(b)]
}
