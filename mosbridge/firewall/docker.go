package firewall

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// chain holds our rules of iptables.
const chain = "MOSBRIDGE"

// filter is what stands in the filter table of iptables.
type filter struct {
	chains map[string]bool
	drops  bool                // the policy of FORWARD is DROP
	rules  map[string][]string // of each chain, without "-A CHAIN "
}

// dockerRules reads the filter table; ok is false where there is no iptables.
func (f *Firewall) dockerRules(ctx context.Context, program string) (t filter, ok bool, err error) {
	out, err := f.run.Run(ctx, xexec.Cmd{Argv: []string{program, "-w", "5", "-S"}})
	if errors.Is(err, exec.ErrNotFound) {
		return t, false, nil
	}
	if err != nil {
		return t, false, err
	}
	return parseFilter(string(out)), true, nil
}

func parseFilter(out string) filter {
	t := filter{chains: map[string]bool{}, rules: map[string][]string{}}
	for line := range strings.Lines(out) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, rule, _ := strings.Cut(rest, " ")
		switch verb {
		case "-P":
			t.chains[name] = true
			t.drops = t.drops || name == "FORWARD" && rule == "DROP"
		case "-N":
			t.chains[name] = true
		case "-A":
			t.rules[name] = append(t.rules[name], rule)
		}
	}
	return t
}

// applyPassages brings the rules of iptables in step with s, for both families.
func (f *Firewall) applyPassages(ctx context.Context, s State) error {
	key := fmt.Sprint(len(s.Networks) > 0, s.routed())
	if f.passage == key {
		return nil
	}
	f.passage = ""
	for _, program := range f.tables {
		if err := f.applyDocker(ctx, program, s); err != nil {
			return err
		}
	}
	f.passage = key
	return nil
}

// routed are the gateways of networks that the outside may reach, sorted.
func (s State) routed() []string {
	var links []string
	for _, n := range s.Networks {
		if !n.NAT && !n.Internal {
			links = append(links, n.Gateway)
		}
	}
	slices.Sort(links)
	return links
}

// applyDocker lets our gateways pass where Docker, or a policy, drops what it
// does not know.
func (f *Firewall) applyDocker(ctx context.Context, program string, s State) error {
	t, ok, err := f.dockerRules(ctx, program)
	if err != nil || !ok {
		return err
	}
	lines := t.change(s)
	if len(lines) == 0 {
		return nil
	}
	script := "*filter\n" + strings.Join(lines, "\n") + "\nCOMMIT\n"
	if _, err := f.run.Run(ctx, xexec.Cmd{Argv: []string{program + "-restore", "-w", "5", "--noflush"}, Stdin: []byte(script)}); err != nil {
		return err
	}
	f.log.InfoContext(ctx, "firewall passage set", "program", program, "chain", t.hook(), "lines", len(lines))
	return nil
}

// hook is the chain that must lead to ours: Docker's chain for its users, or
// FORWARD when it drops by policy, or none.
func (t filter) hook() string {
	switch {
	case t.chains["DOCKER-USER"]:
		return "DOCKER-USER"
	case t.drops:
		return "FORWARD"
	}
	return ""
}

const jump = "-j " + chain

// change is the lines of iptables-restore that lead from what stands to what s
// wants; none when it stands already.
func (t filter) change(s State) []string {
	hook := t.hook()
	if len(s.Networks) == 0 {
		hook = ""
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(t.rules)) {
		n := len(slices.DeleteFunc(slices.Clone(t.rules[name]), func(r string) bool { return r != jump }))
		if name == hook {
			n-- // one stays
		}
		for range n {
			lines = append(lines, fmt.Sprintf("-D %s %s", name, jump))
		}
	}
	if hook == "" {
		if t.chains[chain] {
			lines = append(lines, "-F "+chain, "-X "+chain)
		}
		return lines
	}
	if want := t.passage(s); !slices.Equal(want, t.rules[chain]) || !t.chains[chain] {
		lines = append(lines, ":"+chain+" - [0:0]") // made if missing, and emptied
		for _, r := range want {
			lines = append(lines, "-A "+chain+" "+r)
		}
	}
	if !slices.Contains(t.rules[hook], jump) {
		lines = append(lines, fmt.Sprintf("-I %s %d %s", hook, t.place(hook), jump))
	}
	return lines
}

// place is the number of our rule in the hook: in Docker's chain for its users
// after what they wrote there, so that their drops count for us too, but before
// the RETURN that older engines end it with.
func (t filter) place(hook string) int {
	rules := t.rules[hook]
	if hook == "FORWARD" {
		return 1
	}
	if n := len(rules); n > 0 && rules[n-1] == "-j RETURN" {
		return n
	}
	return len(rules) + 1
}

// passage is the rules of our chain, as `iptables -S` prints them. It accepts
// no more than our table lets through, so that nothing is open in the moment
// in which somebody emptied that, and leaves to Docker what is for its own
// bridges.
func (t filter) passage(s State) []string {
	const gateways = spec.PrefixGateway + "+"
	rules := []string{
		"-o " + gateways + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		"-o " + gateways + " -m conntrack --ctstate DNAT -j ACCEPT",
		"-i " + gateways + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	}
	for _, link := range s.routed() {
		rules = append(rules, "-o "+link+" -j ACCEPT")
	}
	for _, bridge := range t.bridges() {
		rules = append(rules, "-i "+gateways+" -o "+bridge+" -j RETURN")
	}
	// Between two of our networks.
	rules = append(rules, "-i "+gateways+" -o "+gateways+" -j RETURN")
	return append(rules, "-i "+gateways+" -j ACCEPT")
}

// bridges are the links of Docker's networks as its own chains name them. A
// jump to those chains would say the same in one rule, but an engine could not
// delete them any more when it is upgraded.
func (t filter) bridges() []string {
	found := map[string]bool{}
	for name, rules := range t.rules {
		if name != "FORWARD" && !strings.HasPrefix(name, "DOCKER") || name == "DOCKER-USER" {
			continue
		}
		for _, r := range rules {
			if link, ok := outLink(r); ok && !strings.HasPrefix(link, spec.PrefixGateway) && (name != "FORWARD" || strings.HasSuffix(r, "-j DOCKER")) {
				found[link] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// outLink is the link of "-o LINK" of a rule, without those of "! -o LINK".
func outLink(rule string) (string, bool) {
	words := strings.Fields(rule)
	for i := range words {
		if words[i] == "-o" && i+1 < len(words) && (i == 0 || words[i-1] != "!") {
			return words[i+1], true
		}
	}
	return "", false
}
