package ovs

// Compiles says whether a line needs no ovs-ofctl.
func Compiles(line string) bool {
	_, ok := compile(line)
	return ok
}
