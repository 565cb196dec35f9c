package dualwrite

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/statement"
)

// callable refuses expressions that need what a role that may write to the table has no right to: its writes would fail from now on. Of a
// new table the triggers run with their owner's rights, so nobody else needs any.
func (p Pair) callable(ctx context.Context, tx pgx.Tx, in inspection) error {
	if p.Target != nil {
		return nil
	}
	var rs job.Refusals
	for field, uses := range map[string][]used{"forward": in.forward.uses, "backward": in.backward.uses} {
		for _, u := range uses {
			rows, err := tx.Query(ctx, `
				WITH writers AS (
					SELECT DISTINCT x.grantee FROM pg_catalog.pg_class c
					 CROSS JOIN LATERAL (SELECT * FROM pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner)))
						UNION ALL SELECT e.* FROM pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) e WHERE a.attrelid = c.oid) x
					 WHERE c.oid = $1 AND x.privilege_type IN ('INSERT', 'UPDATE'))
				SELECT CASE WHEN w.grantee = 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(w.grantee)::text END
				  FROM writers w
				 WHERE NOT CASE WHEN w.grantee = 0 THEN pg_catalog.has_schema_privilege('public', $3::oid, 'USAGE') ELSE pg_catalog.has_schema_privilege(w.grantee, $3::oid, 'USAGE') END
				    OR NOT CASE WHEN $4 = 'function' AND w.grantee = 0 THEN pg_catalog.has_function_privilege('public', $2::oid, 'EXECUTE')
				                WHEN $4 = 'function' THEN pg_catalog.has_function_privilege(w.grantee, $2::oid, 'EXECUTE')
				                WHEN w.grantee = 0 THEN pg_catalog.has_table_privilege('public', $2::oid, 'SELECT')
				                ELSE pg_catalog.has_table_privilege(w.grantee, $2::oid, 'SELECT') END
				 ORDER BY 1`, p.Source.OID, u.OID, u.Schema, u.Kind)
			if err != nil {
				return fmt.Errorf("read who may use %s %s: %w", u.Kind, u.Name, err)
			}
			roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return fmt.Errorf("read who may use %s %s: %w", u.Kind, u.Name, err)
			}
			right := map[string]string{"function": "EXECUTE ON FUNCTION", "table": "SELECT ON TABLE"}[u.Kind]
			for _, r := range roles {
				to := statement.Quote(r)
				if r == "public" {
					to = "PUBLIC"
				}
				rs = append(rs, job.Refusal{Field: field, Value: u.Name, Why: "may not be used by role " + r + ", which writes to " + p.Source.String() + ": its writes would fail",
					Fix: fmt.Sprintf("run GRANT USAGE ON SCHEMA %s TO %s; GRANT %s %s TO %s", u.InSchema, to, right, u.Name, to)})
			}
		}
	}
	return rs.Err()
}
