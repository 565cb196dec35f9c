package postgres

import "github.com/jackc/pgx/v5/pgconn"

// readOnly is the SQLSTATE of a write on a standby, or in a transaction that is read-only.
const readOnly = "25006"

// leaveStandby also closes a session whose server turns out to take no writes. Behind a pooler or a proxy a session outlives a failover, and
// leads to the former primary once that is back as a standby; the next connection is made to a server that the DSN allows.
func leaveStandby(otherwise pgconn.PgErrorHandler) pgconn.PgErrorHandler {
	return func(conn *pgconn.PgConn, err *pgconn.PgError) (keep bool) {
		return err.Code != readOnly && otherwise(conn, err)
	}
}
