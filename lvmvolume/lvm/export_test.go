package lvm

// For the tests outside the package.
var (
	ParseReport = parseReport
	MapError    = mapError
)

// AttrState parses lv_attr.
func AttrState(s string) (Type, State, error) {
	a, err := parseAttr(s)
	return a.kind(""), a.state(), err
}

// ParsePoolLine parses a line of dmsetup status for a pool.
func ParsePoolLine(line string) (PoolStatus, bool, error) {
	s, ok, err := parseStatus(line, "thin-pool")
	if err != nil || !ok {
		return PoolStatus{}, ok, err
	}
	p, err := parsePool(s)
	return p, true, err
}
