package flow

import "fmt"

// Rule is one rule of the pipeline.
type Rule struct {
	Cookie   Cookie
	Table    uint8
	Priority uint16
	Match    string // as ovs-ofctl takes it, "" for everything
	Actions  string
}

// String is the rule as ovs-ofctl takes it.
func (r Rule) String() string {
	m := r.Match
	if m != "" {
		m = "," + m
	}
	return fmt.Sprintf("cookie=%s,table=%d,priority=%d%s,actions=%s", r.Cookie, r.Table, r.Priority, m, r.Actions)
}

// maker makes rules of one owner and round.
type maker struct {
	round  uint16
	owner  kind
	object uint32
	rules  []Rule
}

func (m *maker) add(table uint8, priority uint16, match, actions string) {
	m.rules = append(m.rules, Rule{cookie(m.round, m.owner, m.object), table, priority, match, actions})
}

func (m *maker) drop(why kind, table uint8, priority uint16, match string) {
	m.rules = append(m.rules, Rule{cookie(m.round, m.owner|why, m.object), table, priority, match, "drop"})
}

func goTo(table uint8) string { return fmt.Sprintf("goto_table:%d", table) }
