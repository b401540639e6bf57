package render

import "strings"

// Line is a command as a line to paste into sh.
func Line(argv []string) string {
	var words []string
	for _, w := range argv {
		// The name of a flag reads better outside of the quotes.
		name, value, ok := strings.Cut(w, "=")
		if ok && strings.HasPrefix(name, "--") && plain(name) && !plain(value) {
			words = append(words, name+"="+quote(value))
			continue
		}
		words = append(words, quote(w))
	}
	return strings.Join(words, " ")
}

func quote(s string) string {
	if plain(s) && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// plain says whether sh takes all letters of s as they are.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || 'z' < r) && (r < 'A' || 'Z' < r) && (r < '0' || '9' < r) && !strings.ContainsRune("_@%+=:,./-", r)
	})
}
