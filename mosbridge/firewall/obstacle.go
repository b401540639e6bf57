package firewall

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Obstacles finds what of others rejects all that they do not know on the way
// between links, and so may stop what our gateways forward: one sentence each.
// Rules of ours cannot meet that, since each table decides for itself and a
// rejection is final. It changes nothing, and judges by the form: a chain that
// drops by its policy or by a rule without a condition, where nothing in its
// table names our gateways.
func (f *Firewall) Obstacles(ctx context.Context, s State) ([]string, error) {
	var found []string
	for _, program := range f.tables {
		rules, ok, err := f.dockerRules(ctx, program)
		if err != nil {
			return nil, fmt.Errorf("read rules beside Docker's: %w", err)
		}
		if rule := rules.barrier(); ok && rule != "" && len(s.Networks) > 0 {
			found = append(found, fmt.Sprintf("%s: rule %q of chain FORWARD stands before ours and stops all", program, rule))
		}
	}
	out, err := f.nft(ctx, "", "-j", "list", "ruleset")
	if err != nil {
		return found, fmt.Errorf("list the ruleset: %w", err)
	}
	more, err := obstacles(out, s)
	return append(found, more...), err
}

// barrier is the rule of FORWARD that stops everything before our rules are
// met, "" for none. What Docker's chain for its users drops is meant so.
func (t filter) barrier() string {
	for _, r := range t.rules["FORWARD"] {
		switch {
		case r == "-j DOCKER-USER", r == "-j "+chain:
			return ""
		case strings.HasPrefix(r, "-j DROP"), strings.HasPrefix(r, "-j REJECT"):
			return r
		}
	}
	return ""
}

// ruleset is what of nft's JSON (libnftables-json(5)) matters here.
type ruleset struct {
	Nftables []struct {
		Chain *struct {
			Family string `json:"family"`
			Table  string `json:"table"`
			Name   string `json:"name"`
			Type   string `json:"type"`
			Hook   string `json:"hook"`
			Policy string `json:"policy"`
		} `json:"chain"`
		Rule *struct {
			Family string                       `json:"family"`
			Table  string                       `json:"table"`
			Chain  string                       `json:"chain"`
			Expr   []map[string]json.RawMessage `json:"expr"`
		} `json:"rule"`
	} `json:"nftables"`
}

// obstacles judges nft's ruleset, without the tables that iptables shows.
func obstacles(raw []byte, s State) ([]string, error) {
	var rs ruleset
	if err := json.Unmarshal(raw, &rs); err != nil {
		return nil, fmt.Errorf("read nft's JSON: %w", err)
	}
	texts := map[string]string{} // of all rules, by table
	finals := map[string]bool{}  // chains with a rule that stops all
	id := func(words ...string) string { return strings.Join(words, " ") }
	for _, o := range rs.Nftables {
		if r := o.Rule; r != nil {
			for _, e := range r.Expr {
				for _, v := range e {
					texts[id(r.Family, r.Table)] += string(v)
				}
			}
			if stopsAll(r.Expr) {
				finals[id(r.Family, r.Table, r.Chain)] = true
			}
		}
	}
	var found []string
	for _, o := range rs.Nftables {
		c := o.Chain
		if c == nil || c.Hook != "forward" || c.Type != "filter" || c.Table == Table || iptables(c.Family, c.Table) {
			continue
		}
		how := "by its policy"
		switch {
		case finals[id(c.Family, c.Table, c.Name)]:
			how = "by a rule"
		case c.Policy != "drop":
			continue
		}
		if links := unnamed(texts[id(c.Family, c.Table)], s); len(links) > 0 {
			found = append(found, fmt.Sprintf("chain %s of nft table %s %s rejects %s what it does not know, and names %s nowhere", c.Name, c.Family, c.Table, how, strings.Join(links, ", ")))
		}
	}
	return found, nil
}

// stopsAll says whether a rule has no condition and ends in a rejection.
func stopsAll(expr []map[string]json.RawMessage) bool {
	final := false
	for _, e := range expr {
		for verb := range e {
			switch verb {
			case "drop", "reject":
				final = true
			case "counter", "log", "comment", "limit":
			default:
				return false
			}
		}
	}
	return final
}

// iptables says whether a table of nft is one that iptables keeps: it is judged
// by what iptables says of it.
func iptables(family, table string) bool {
	return family != "inet" && slices.Contains([]string{"filter", "mangle", "raw", "security", "nat"}, table)
}

// unnamed are the gateways that a table's rules do not name.
func unnamed(text string, s State) []string {
	if strings.Contains(text, `"`+spec.PrefixGateway+`*"`) {
		return nil
	}
	var links []string
	for _, n := range s.Networks {
		if !strings.Contains(text, `"`+n.Gateway+`"`) && !n.Internal {
			links = append(links, n.Gateway)
		}
	}
	return links
}
