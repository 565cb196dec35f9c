package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// index is one index of a relation; the slices have an entry for each key column (INCLUDE columns are left out).
type index struct {
	name       string
	method     string
	unique     bool // and checked at once, not at commit
	primary    bool
	valid      bool // and ready
	partial    bool
	expression bool
	columns    []string // empty where an expression stands
	notNull    []bool
	natural    []bool // the operator class belongs to the default family of its type
	descending []bool
	collations []string // quoted, schema-qualified; empty where the type has none
	sameOnes   []bool   // the collation is deterministic
}

func indexes(ctx context.Context, q Querier, r Leaf) ([]index, error) {
	rows, err := q.Query(ctx, `
		SELECT ic.relname::text, am.amname::text, i.indisunique AND i.indimmediate AND NOT i.indisexclusion, i.indisprimary,
		       i.indisvalid AND i.indisready AND i.indislive, i.indpred IS NOT NULL, i.indexprs IS NOT NULL,
		       array_agg(coalesce(a.attname::text, '') ORDER BY k.ord),
		       array_agg(coalesce(a.attnotnull, false) AND NOT EXISTS (
		           SELECT 1 FROM pg_constraint v WHERE v.conrelid = i.indrelid AND v.contype = 'n' AND a.attnum = ANY(v.conkey) AND NOT v.convalidated)
		         ORDER BY k.ord),
		       array_agg(EXISTS (SELECT 1 FROM pg_opclass d WHERE d.opcfamily = oc.opcfamily AND d.opcdefault) ORDER BY k.ord),
		       array_agg(i.indoption[k.ord - 1] & 1 = 1 ORDER BY k.ord),
		       array_agg(coalesce(quote_ident(cn.nspname) || '.' || quote_ident(co.collname), '') ORDER BY k.ord),
		       array_agg(coalesce(co.collisdeterministic, true) ORDER BY k.ord)
		  FROM pg_index i
		  JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am am ON am.oid = ic.relam
		 CROSS JOIN LATERAL generate_series(1, i.indnkeyatts) k(ord)
		  LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.ord - 1] AND a.attnum > 0
		  JOIN pg_opclass oc ON oc.oid = i.indclass[k.ord - 1]
		  LEFT JOIN pg_collation co ON co.oid = i.indcollation[k.ord - 1] LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
		 WHERE i.indrelid = $1
		 GROUP BY i.indexrelid, ic.relname, am.amname, i.indisunique, i.indimmediate, i.indisexclusion, i.indisprimary, i.indisvalid, i.indisready,
		          i.indislive, i.indpred IS NOT NULL, i.indexprs IS NOT NULL
		 ORDER BY i.indisprimary DESC, max(i.indnkeyatts), ic.relname`, r.OID)
	if err != nil {
		return nil, fmt.Errorf("read the indexes of %s: %w", r, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (index, error) {
		var x index
		err := row.Scan(&x.name, &x.method, &x.unique, &x.primary, &x.valid, &x.partial, &x.expression, &x.columns, &x.notNull,
			&x.natural, &x.descending, &x.collations, &x.sameOnes)
		return x, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the indexes of %s: %w", r, err)
	}
	return all, nil
}

// fault says why the index cannot walk the key in order; empty means that it can.
func (x index) fault(key []string) string {
	n := len(key)
	switch {
	case len(x.columns) < n || !slices.Equal(x.columns[:n], key):
		return "has other leading columns"
	case x.method != "btree":
		return "is a " + x.method + " index"
	case !x.valid:
		return "is not valid; REINDEX INDEX CONCURRENTLY may mend it"
	case x.partial:
		return "is partial"
	case x.expression:
		return "is over an expression"
	case slices.Contains(x.natural[:n], false):
		return "has an operator class that orders otherwise"
	case slices.Contains(x.descending[:n], true) && slices.Contains(x.descending[:n], false):
		return "mixes ASC and DESC"
	case slices.Contains(x.sameOnes[:n], false):
		return "has a nondeterministic collation"
	}
	return ""
}

// soundlyUnique reports whether no two rows can have the same values in all its columns, were none of them NULL.
func (x index) soundlyUnique() bool {
	return x.unique && x.valid && !x.partial && !x.expression
}

// identifies reports whether the index makes every value of the key belong to one row.
func (x index) identifies(key []string) bool {
	return x.soundlyUnique() && !slices.Contains(x.notNull, false) && subset(x.columns, key)
}

// unique lists the keys that a relation's unique indexes offer, the primary key first, then the narrowest.
func unique(ixs []index) []candidate {
	var found []candidate
	for _, x := range ixs {
		if !x.identifies(x.columns) {
			continue
		}
		origin := "unique index " + quote(x.name)
		if x.primary {
			origin = "the primary key"
		}
		found = append(found, candidate{x.columns, origin})
	}
	return found
}

// faults lists, in parentheses, the indexes that look right and why they do not serve.
func faults(ixs []index, key []string, uniqueness bool) string {
	var list []string
	for _, x := range ixs {
		if len(x.columns) < len(key) || !slices.Equal(x.columns[:len(key)], key) {
			continue
		}
		why := x.fault(key)
		switch {
		case why == "" && uniqueness && !x.unique:
			why = "is not unique"
		case why == "" && uniqueness && len(x.columns) > len(key):
			why = "is unique only with further columns"
		}
		if why != "" {
			list = append(list, quote(x.name)+" "+why)
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ")"
}

func notNullIn(ixs []index, column string) bool {
	for _, x := range ixs {
		if i := slices.Index(x.columns, column); i >= 0 && x.notNull[i] {
			return true
		}
	}
	return false
}

func subset(of, all []string) bool {
	for _, s := range of {
		if !slices.Contains(all, s) {
			return false
		}
	}
	return true
}
