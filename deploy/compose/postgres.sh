# Runs one server of the pair: `postgres.sh primary` or `postgres.sh standby`. It sets the server up when its data directory is empty and
# needs nothing of the image but PostgreSQL's programs on the PATH, bash and setpriv.
set -euo pipefail
role=$1

if [[ $(id -u) -eq 0 ]]; then
	chown postgres: "$(dirname "$PGDATA")"
	exec setpriv --reuid=postgres --regid=postgres --init-groups bash "$0" "$@"
fi

# A set-up that was cut off leaves only the .new, which the next start throws away.
new=$PGDATA.new
rm -rf "${new:?}"

make_primary() {
	initdb --pgdata="$new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256
	echo 'host all,replication all all scram-sha-256' >>"$new/pg_hba.conf"
	# Nobody but this script can connect before the roles are there.
	pg_ctl --pgdata="$new" --wait --options="-c listen_addresses=''" start
	psql --username=postgres --set=ON_ERROR_STOP=1 --file=/etc/backfleet/primary.sql
	pg_ctl --pgdata="$new" --wait --mode=fast stop
}

make_standby() {
	PGPASSWORD=$(</run/backfleet/replication.password) pg_basebackup --pgdata="$new" --write-recovery-conf --slot=standby --checkpoint=fast \
		--dbname='host=primary user=replicator application_name=standby'
}

if [[ ! -e $PGDATA/PG_VERSION ]]; then
	"make_$role"
	mv "$new" "$PGDATA"
fi

# A standby that is away may keep so much WAL, and no more: it must not fill the primary's disk.
exec postgres -c listen_addresses='*' -c wal_level=replica -c max_slot_wal_keep_size=4GB -c wal_compression=on
