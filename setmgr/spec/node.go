package spec

import "strings"

// node is a value of a file, of either notation, with its place.
type node struct {
	kind  kind
	at    place
	text  string  // of text, number and boolean, as it is written but for quotes
	keys  []*node // of an object, all of kind text
	items []*node // of an object and of a list
}

// place is where something begins, counted from 1 in lines and characters.
type place struct{ line, column int }

type kind string

const (
	object  kind = "an object"
	list    kind = "a list"
	text    kind = "text"
	number  kind = "a number"
	boolean kind = "true or false"
	null    kind = "null"
)

// join is the JSON pointer of a key of what is at path.
func join(path, key string) string {
	if len(key) > 60 {
		key = strings.ToValidUTF8(key[:60], "") + "…"
	}
	key = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, key)
	if strings.ContainsAny(key, "~/") { // a replacer is large, and each key of each set comes here
		key = strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
	}
	return path + "/" + key
}
