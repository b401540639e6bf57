package api

// Page is a list of resources, or a part of it.
type Page[T any] struct {
	Items []*T `json:"items"`
	// Revision is that of the store at which they were so, to watch after.
	Revision int64 `json:"revision"`
	// Continue asks for the next part, which is of the same revision; empty for none.
	Continue string `json:"continue,omitzero"`
}

// Change is what a watch tells.
type Change[T any] struct {
	Kind     Kind   `json:"kind,omitzero"`
	Name     string `json:"name,omitzero"`
	Revision int64  `json:"revision"`
	// Object is what the resource is now; nothing if it is gone.
	Object T `json:"object,omitzero"`
}

// The names of what a watch tells.
const (
	Added    = "added"
	Modified = "modified"
	Removed  = "deleted"
	Bookmark = "bookmark" // nothing changed up to this revision
	Gone     = "gone"     // the history is not there any more: list again
)
