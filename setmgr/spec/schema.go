package spec

// Schema is the JSON Schema of a set's file.
func Schema() []byte { return nil }
