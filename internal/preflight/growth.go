package preflight

import (
	"context"
	"fmt"
	"strconv"

	"github.com/backfleet/backfleet/internal/statement"
)

// mayVacuum warns where a bound of growth is set and this role may not vacuum the table, leaf by leaf: the job would wait for autovacuum,
// which comes for a fifth of all rows.
func (c *check) mayVacuum(ctx context.Context) error {
	bound := c.spec.Throttle.MaxGrowth
	if bound == 0 {
		return nil
	}
	var not []string
	var name string
	err := c.scanAll(ctx, "the privilege to vacuum", `
		SELECT format('%I.%I', n.nspname, c.relname)
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE (c.oid = $1 OR c.oid IN (SELECT relid FROM pg_partition_tree($1::oid::regclass))) AND c.relkind = 'r'
		   AND NOT pg_has_role(c.relowner, 'USAGE')
		   AND NOT (SELECT pg_has_role(d.datdba, 'USAGE') FROM pg_database d WHERE d.datname = current_database())
		   AND NOT CASE WHEN current_setting('server_version_num')::int >= 170000 THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END
		 ORDER BY 1 LIMIT 1`, []any{c.table.OID}, []any{&name}, func() { not = append(not, name) })
	if err != nil || len(not) == 0 {
		return err
	}
	role := statement.Quote(c.plan.Server.Role)
	fix := fmt.Sprintf("run GRANT the role that owns %s TO %s", not[0], role)
	if c.plan.Server.Number >= 170000 {
		fix = fmt.Sprintf("run GRANT MAINTAIN ON %s TO %s", not[0], role)
	}
	c.warn(Warning, "throttle.max_growth", fmt.Sprintf("%s holds the job near the bound until a vacuum has run, and role %s may not vacuum %s",
		strconv.FormatFloat(bound, 'g', -1, 64), role, not[0]), fix)
	return nil
}
