package job

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/ranges"
)

func TestBetween(t *testing.T) {
	one := []Column{{Name: "id", Type: "bigint"}}
	two := []Column{{Name: `we"ird`, Type: "text", Collation: `"pg_catalog"."C"`}, {Name: "at", Type: "timestamp with time zone"}}
	spec := Spec{Where: "a is null -- todo", Check: "b > 0"}
	for _, c := range []struct {
		key          []Column
		from, to     ranges.Key
		where, check string
	}{
		{one, nil, nil, spec.Where, spec.Check},
		{one, ranges.Key{"7"}, nil, "(a is null -- todo\n) AND \"id\" >= E'7'::bigint", "NOT (\"id\" >= E'7'::bigint) OR (b > 0\n)"},
		{two, nil, ranges.Key{`it's\`, "2026-01-01"}, "(a is null -- todo\n) AND (\"we\"\"ird\" COLLATE \"pg_catalog\".\"C\", \"at\") < (E'it''s\\\\'::text, E'2026-01-01'::timestamp with time zone)", ""},
	} {
		got, err := spec.Between(c.key, c.from, c.to)
		require.NoError(t, err)
		require.Equal(t, c.where, got.Where)
		if c.check != "" {
			require.Equal(t, c.check, got.Check)
		}
	}
	_, err := spec.Between(two, ranges.Key{"7"}, nil)
	require.ErrorContains(t, err, "has 2 columns")
	_, err = Spec{}.Between(one, ranges.Key{"7"}, nil)
	require.ErrorContains(t, err, "where: is missing")
}
