package flow

// A bundle is a list of lines for one `ovs-ofctl --bundle add-flows`: all of
// them take effect at once, or none.

// Full is the bundle that puts in all rules of a bridge in a round. It deletes
// nothing: a [Sweep] after it takes away what other rounds left.
func Full(round uint16, networks []Network) []string {
	lines := add(Base(round))
	for _, n := range sorted(networks) {
		lines = append(lines, add(n.Rules(round))...)
		for _, p := range n.Ports {
			lines = append(lines, add(n.PortRules(round, p))...)
		}
	}
	return lines
}

// Attach is the bundle that adds an endpoint, or changes it: n is the network
// with p among its ports.
func Attach(round uint16, n Network, p Port) []string {
	lines := append([]string{del(ofOwner(kindEndpoint, p.Object))}, add(n.PortRules(round, p))...)
	return append(lines, "add "+n.flood(round).String())
}

// Detach is the bundle that takes an endpoint away: n is the network without p
// among its ports. It is repeatable.
func Detach(round uint16, n Network, p Port) []string {
	return []string{del(ofOwner(kindEndpoint, p.Object)), "add " + n.flood(round).String()}
}

// Join is the bundle that puts in a network with all of its endpoints, or
// brings its own rules up to date after its uplink or router changed.
func Join(round uint16, n Network) []string {
	n = sorted([]Network{n})[0]
	lines := append([]string{del(ofOwner(kindNetwork, n.Object))}, add(n.Rules(round))...)
	for _, p := range n.Ports {
		lines = append(lines, del(ofOwner(kindEndpoint, p.Object)))
		lines = append(lines, add(n.PortRules(round, p))...)
	}
	return lines
}

// Remove is the bundle that takes away a network with the endpoints that n
// lists. It is repeatable.
func Remove(n Network) []string {
	lines := []string{del(ofOwner(kindNetwork, n.Object))}
	for _, p := range sorted([]Network{n})[0].Ports {
		lines = append(lines, del(ofOwner(kindEndpoint, p.Object)))
	}
	return lines
}

// Sweep is the bundle that takes away our rules of all other rounds. A rule of
// another round differs in at least one bit of it, so one line for each bit
// finds them all, and rules that are not ours stay.
func Sweep(round uint16) []string {
	var lines []string
	for bit := range 16 {
		lines = append(lines, del(match(cookie(round^1<<bit, 0, 0), 1<<(48+bit)|maskMarker)))
	}
	return lines
}

func add(rules []Rule) []string {
	lines := make([]string, len(rules))
	for i, r := range rules {
		lines[i] = "add " + r.String()
	}
	return lines
}

func del(match string) string { return "delete " + match }
