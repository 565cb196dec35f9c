package preflight

import (
	"slices"
	"strings"

	"github.com/backfleet/backfleet/internal/statement"
)

// node is what is read of a plan in EXPLAIN's JSON.
type node struct {
	Type      string  `json:"Node Type"`
	IndexName string  `json:"Index Name"`
	IndexCond string  `json:"Index Cond"`
	Rows      float64 `json:"Plan Rows"`
	Plans     []node  `json:"Plans"`

	Schema     string `json:"Schema"`
	Relation   string `json:"Relation Name"`
	Alias      string `json:"Alias"`
	Role       string `json:"Parent Relationship"`
	Join       string `json:"Join Type"`
	Never      string `json:"One-Time Filter"`
	Subplan    string `json:"Subplan Name"`        // "CTE x" for a part of a WITH
	CTE        string `json:"CTE Name"`            // of its scan
	Operation  string `json:"Operation"`           // of a ModifyTable
	OnConflict string `json:"Conflict Resolution"` // of its INSERT
}

// conditioned returns the index that a plan enters by a condition; empty without one.
func (n node) conditioned() string {
	if n.IndexCond != "" {
		return n.IndexName
	}
	for _, p := range n.Plans {
		if name := p.conditioned(); name != "" {
			return name
		}
	}
	return ""
}

// enters returns the index by which a plan finds a range of the target's rows; empty without one. within says that the node above is of
// the target, as a bitmap's index scans have no table of their own.
func (n node) enters(t statement.Target, within bool) string {
	if n.Relation != "" {
		within = n.Schema == t.Schema && n.Relation == t.Name && (n.Alias == t.Alias || strings.HasPrefix(n.Alias, t.Alias+"_"))
	}
	if within && n.IndexCond != "" && strings.ContainsAny(n.IndexCond, "<>") { // and not a join by equality
		return n.IndexName
	}
	for _, p := range n.Plans {
		if name := p.enters(t, within); name != "" {
			return name
		}
	}
	return ""
}

// scanned lists the tables, quoted, that a plan reads from their beginning to their end.
func (n node) scanned() (all []string) {
	if n.Type == "Seq Scan" {
		all = append(all, statement.Target{Schema: n.Schema, Name: n.Relation}.Relation())
	}
	for _, p := range n.Plans {
		all = append(all, p.scanned()...)
	}
	return all
}

// writes lists what a plan writes, the last part of the statement first.
func (n node) writes() (all []Write) {
	if n.Type == "ModifyTable" {
		all = append(all, Write{
			Relation: statement.Target{Schema: n.Schema, Name: n.Relation}.Relation(), Operation: strings.ToLower(n.Operation), OnConflict: strings.ToLower(n.OnConflict),
			schema: n.Schema, name: n.Relation, alias: n.Alias,
		})
	}
	for _, p := range n.Plans {
		all = append(all, p.writes()...)
	}
	return all
}

// barren reports whether a statement's plan surely writes nothing, in none of its parts.
func (n node) barren() bool {
	with := map[string]node{}
	all := n.parts(with)
	return !slices.ContainsFunc(all, func(p node) bool { return p.Type == "ModifyTable" && !p.empty(with) })
}

// parts lists a node and all below it, and enters those of a WITH by their names.
func (n node) parts(with map[string]node) []node {
	if name, is := strings.CutPrefix(n.Subplan, "CTE "); is {
		with[name] = n
	}
	all := []node{n}
	for _, p := range n.Plans {
		all = append(all, p.parts(with)...)
	}
	return all
}

// empty reports whether a plan surely returns no row but the one that an aggregate makes of none.
func (n node) empty(with map[string]node) bool {
	var outer, inner, all []node
	for _, p := range n.Plans {
		switch p.Role {
		case "Outer", "Subquery":
			outer = append(outer, p)
		case "Inner":
			inner = append(inner, p)
		case "Member":
			all = append(all, p)
		}
	}
	are := func(of []node) bool {
		return len(of) > 0 && !slices.ContainsFunc(of, func(p node) bool { return !p.empty(with) })
	}
	part, known := with[n.CTE]
	switch {
	case n.Never == "false":
		return true
	case n.CTE != "":
		return known && part.empty(with)
	case len(all) > 0:
		return are(all)
	case n.Join == "Inner", n.Join == "Semi", n.Join == "Right Semi":
		return are(outer) || are(inner)
	case n.Join == "Right", n.Join == "Right Anti":
		return are(inner)
	case n.Join == "Full":
		return are(outer) && are(inner)
	}
	return are(outer)
}
