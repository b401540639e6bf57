package adminapi

// Finding is one thing that should not be there, or is missing.
type Finding struct {
	Kind   string `json:"kind"` // such as link, port, volume, mount
	Object string `json:"object"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// Audit is the leak check: no findings means nothing is left over or missing.
type Audit struct {
	Findings []Finding `json:"findings"`
}

// GCRequest asks to collect at once what is left over.
type GCRequest struct {
	DryRun bool `json:"dryRun,omitempty"`
}

// GC is what was, or would be, collected.
type GC struct {
	Objects []Finding `json:"objects"`
}

// Check is one question of the doctor.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// Doctor is all of them.
type Doctor struct {
	Checks []Check `json:"checks"`
}

// LogLevel is debug, info, warn or error.
type LogLevel struct {
	Level string `json:"level"`
}
