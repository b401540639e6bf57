package api

// Explanation says what becomes of one more set of a service, and why.
type Explanation struct {
	Hosts int `json:"hosts"` // there are
	Fit   int `json:"fit"`   // of these, take the set
	// Sentence is all below in one.
	Sentence string        `json:"sentence"`
	Filters  []FilterCount `json:"filters,omitzero"` // those that reject any host
	Best     []Candidate   `json:"best,omitzero"`    // of those that fit, at most five
	// Host is about the one that was asked for.
	Host *Verdict `json:"host,omitzero"`
}

// FilterCount is how many hosts a filter rejects.
type FilterCount struct {
	Filter  string `json:"filter"`
	Rejects int    `json:"rejects"`
	Alone   int    `json:"alone,omitzero"` // of these, those that no other filter rejects
	Note    string `json:"note,omitzero"`
}

// Candidate is a host that fits.
type Candidate struct {
	Host  string `json:"host"`
	Score int64  `json:"score"`
	// Pull is how many bytes of the set's images the host lacks, as far as it is known.
	Pull int64 `json:"pull,omitzero"`
}

// Verdict is what becomes of a set on one host.
type Verdict struct {
	Host    string   `json:"host"`
	Reasons []Reason `json:"reasons,omitzero"` // for which it is rejected, all of them
	Score   int      `json:"score"`            // as if it were not
	Pull    int64    `json:"pull,omitzero"`
}

// Reason is why a filter rejects a host.
type Reason struct {
	Filter string `json:"filter"`
	Text   string `json:"text"`
}

// Forecast is what would become of a service if it were stored now.
type Forecast struct {
	// Updates are the sets that the template would come to, in that order.
	Updates  []SetChange `json:"updates,omitzero"`
	Placed   []Placing   `json:"placed,omitzero"`
	Unplaced int         `json:"unplaced,omitzero"`
	// Why is about the first set that is not placed, or about one more.
	Why *Explanation `json:"why,omitzero"`
}

// SetChange is a set that is changed, on its host.
type SetChange struct {
	Set  string `json:"set"`
	Host string `json:"host"`
	// Leaves is why the host cannot hold the new template, so that the set goes to another;
	// it is empty of one that is changed in place.
	Leaves string `json:"leaves,omitzero"`
}

// Placing is a set and its host.
type Placing struct {
	Set  string `json:"set"`
	Host string `json:"host"`
}
