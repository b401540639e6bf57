package ovs

import (
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// The tables of the database that we use.
const (
	tableRoot      = "Open_vSwitch" // has exactly one row
	tableBridge    = "Bridge"
	tablePort      = "Port"
	tableInterface = "Interface"
)

// Columns that occur in more than one place.
const (
	colUUID        = "_uuid"
	colName        = "name"
	colExternalIDs = "external_ids"
	colOtherConfig = "other_config"
	colPorts       = "ports"
	colOfport      = "ofport"
)

func where(column string, value any) ovsdb.Condition {
	return ovsdb.NewCondition(column, ovsdb.ConditionEqual, value)
}

// every matches all rows. The wire type leaves an empty list of conditions out,
// and the server wants one.
func every() ovsdb.Condition {
	return ovsdb.NewCondition(colUUID, ovsdb.ConditionNotEqual, ovsdb.UUID{GoUUID: "00000000-0000-0000-0000-000000000000"})
}

func holds(column, uuid string) ovsdb.Condition {
	return ovsdb.NewCondition(column, ovsdb.ConditionIncludes, uuidSet(uuid))
}

func selectOp(table string, cond ovsdb.Condition, columns ...string) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationSelect, Table: table, Where: []ovsdb.Condition{cond}, Columns: columns}
}

func insertOp(table, name string, row ovsdb.Row) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationInsert, Table: table, UUIDName: name, Row: row}
}

func updateOp(table string, cond ovsdb.Condition, row ovsdb.Row) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: table, Where: []ovsdb.Condition{cond}, Row: row}
}

func mutateOp(table string, conds []ovsdb.Condition, ms ...ovsdb.Mutation) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationMutate, Table: table, Where: conds, Mutations: ms}
}

// absentOp fails the transaction when a row of that name exists.
func absentOp(table, name string) ovsdb.Operation {
	zero := 0
	return ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: table, Where: []ovsdb.Condition{where(colName, name)},
		Columns: []string{colName}, Until: "!=", Rows: []ovsdb.Row{{colName: name}}, Timeout: &zero,
	}
}

// changedOp waits until a column of the row differs from the value.
func changedOp(table string, cond ovsdb.Condition, column string, from any, limit time.Duration) ovsdb.Operation {
	ms := int(max(limit.Milliseconds(), 0))
	return ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: table, Where: []ovsdb.Condition{cond},
		Columns: []string{column}, Until: "!=", Rows: []ovsdb.Row{{column: from}}, Timeout: &ms,
	}
}

// touchOp asks ovs-vswitchd to confirm the transaction: it copies next_cfg to
// cur_cfg when it has done what the database says.
func touchOp() []ovsdb.Operation {
	return []ovsdb.Operation{
		mutateOp(tableRoot, []ovsdb.Condition{every()}, mutation("next_cfg", "+=", 1)),
		selectOp(tableRoot, every(), "next_cfg"),
	}
}

func mutation(column string, mutator ovsdb.Mutator, value any) ovsdb.Mutation {
	return ovsdb.Mutation{Column: column, Mutator: mutator, Value: value}
}

func uuidSet(uuids ...string) ovsdb.OvsSet {
	s := ovsdb.OvsSet{}
	for _, u := range uuids {
		s.GoSet = append(s.GoSet, ovsdb.UUID{GoUUID: u})
	}
	return s
}

func mapOf(m map[string]string) ovsdb.OvsMap {
	o := ovsdb.OvsMap{GoMap: map[any]any{}}
	for k, v := range m {
		o.GoMap[k] = v
	}
	return o
}

// str returns a column of one or no string.
func str(r ovsdb.Row, column string) string {
	s, _ := r[column].(string) // a set of none is no string
	return s
}

// num returns a column of one or no number.
func num(r ovsdb.Row, column string) (int64, bool) {
	f, ok := r[column].(float64)
	return int64(f), ok
}

// atoms returns a set column's values: a set of one comes as a bare value.
func atoms(r ovsdb.Row, column string) []any {
	switch v := r[column].(type) {
	case nil:
		return nil
	case ovsdb.OvsSet:
		return v.GoSet
	default:
		return []any{v}
	}
}

func uuids(r ovsdb.Row, column string) []string {
	var us []string
	for _, a := range atoms(r, column) {
		if u, ok := a.(ovsdb.UUID); ok {
			us = append(us, u.GoUUID)
		}
	}
	return us
}

func uuid(r ovsdb.Row) string {
	u, _ := r[colUUID].(ovsdb.UUID) // always there when asked for
	return u.GoUUID
}

// dict returns a map column with string values.
func dict(r ovsdb.Row, column string) map[string]string {
	m := map[string]string{}
	if o, ok := r[column].(ovsdb.OvsMap); ok {
		for k, v := range o.GoMap {
			ks, _ := k.(string)
			vs, _ := v.(string)
			m[ks] = vs
		}
	}
	return m
}

// stats returns a map column with number values.
func numbers(r ovsdb.Row, column string) map[string]uint64 {
	m := map[string]uint64{}
	if o, ok := r[column].(ovsdb.OvsMap); ok {
		for k, v := range o.GoMap {
			ks, _ := k.(string)
			if f, ok := v.(float64); ok && f > 0 {
				m[ks] = uint64(f)
			}
		}
	}
	return m
}
