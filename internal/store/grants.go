package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
)

// Grants returns the statements that give a role the least it needs: the ledger, pg_monitor to see the replicas, and the table with
// its leaf partitions. UPDATE is granted on the whole table, for the columns are the jobs' to say; narrow it where you know them.
func (s *Store) Grants(ctx context.Context, role, table string) (string, error) {
	schema, name, err := job.SplitTable(table)
	if err != nil {
		return "", err
	}
	if schema == "" {
		schema = "public" // as in a spec
	}
	var oid *uint32
	if err := s.pool.QueryRow(ctx, "select to_regclass($1)::oid", pgx.Identifier{schema, name}.Sanitize()).Scan(&oid); err != nil {
		return "", s.explain("find "+table, err)
	}
	if oid == nil {
		return "", fmt.Errorf("table: %s is not in database %q; write schema.table", table, s.database)
	}
	leaves, err := catalog.Leaves(ctx, s.pool, *oid)
	if err != nil {
		return "", err
	}
	to := pgx.Identifier{role}.Sanitize()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+";\n", args...) }
	b.WriteString("-- The ledger.\n")
	line("GRANT USAGE ON SCHEMA backfleet TO %s", to)
	line("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA backfleet TO %s", to)
	line("REVOKE INSERT, UPDATE, DELETE ON backfleet.schema_version, backfleet.policy FROM %s", to)
	line("REVOKE UPDATE, DELETE ON backfleet.events FROM %s", to) // the audit log only grows
	line("GRANT EXECUTE ON FUNCTION backfleet.hold(interval, text), backfleet.release() TO %s", to)
	b.WriteString("-- Replicas and other sessions, for the throttle. A superuser must run this one.\n")
	line("GRANT pg_monitor TO %s", to)
	b.WriteString("-- The table.\n")
	schemas := map[string]bool{}
	usage := func(schema string) {
		if !schemas[schema] {
			schemas[schema] = true
			line("GRANT USAGE ON SCHEMA %s TO %s", pgx.Identifier{schema}.Sanitize(), to)
		}
	}
	grant := func(schema, name string) {
		line("GRANT SELECT, UPDATE ON TABLE %s TO %s", pgx.Identifier{schema, name}.Sanitize(), to)
	}
	usage(schema)
	grant(schema, name)
	for _, leaf := range leaves {
		if leaf.OID == *oid {
			continue
		}
		usage(leaf.Schema)
		grant(leaf.Schema, leaf.Name)
	}
	return b.String(), nil
}
