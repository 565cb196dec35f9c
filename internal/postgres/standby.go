package postgres

import "github.com/jackc/pgx/v5/pgconn"

// refusedByStandby says that a server took no write because it is a standby, or because the transaction is read-only. To begin one that
// writes is refused on a standby as a setting that it does not support.
func refusedByStandby(err *pgconn.PgError) bool {
	return err.Code == "25006" || err.Code == "0A000" && err.Routine == "call_bool_check_hook"
}

// leaveStandby also closes a session whose server turns out to be a standby. Behind a pooler or a proxy a session outlives a failover, and
// leads to the former primary once that is back as a standby; the next connection is made to a server that the DSN allows.
func leaveStandby(otherwise pgconn.PgErrorHandler) pgconn.PgErrorHandler {
	return func(conn *pgconn.PgConn, err *pgconn.PgError) (keep bool) {
		if refusedByStandby(err) || err.Code == "55000" { // as reading the position in the WAL is there
			return false
		}
		return otherwise(conn, err)
	}
}
