#!/usr/bin/env bash
# Makes this machine ready for the demo and the tests: installs PostgreSQL's server from the package manager when its
# binaries are missing. Changes nothing when they are there. Needs root, or sudo without a password.
set -euo pipefail

have_postgres() {
	if [[ -n ${BACKFLEET_TEST_PG_BIN:-} ]]; then
		[[ -x $BACKFLEET_TEST_PG_BIN/initdb ]]
	else
		compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null
	fi
}

fail() {
	echo "setup: $1" >&2
	exit 1
}

command -v go >/dev/null || fail "no go command: install Go 1.26 or newer from https://go.dev/dl"
have_postgres && exit 0
[[ -z ${BACKFLEET_TEST_PG_BIN:-} ]] || fail "BACKFLEET_TEST_PG_BIN=$BACKFLEET_TEST_PG_BIN holds no initdb"

hint="install PostgreSQL 14 or newer (Debian: apt-get install postgresql), or set BACKFLEET_TEST_PG_BIN"
command -v apt-get >/dev/null || fail "no PostgreSQL server binaries, and no apt-get to install them with: $hint"
root=()
if [[ $(id -u) -ne 0 ]]; then
	sudo -n true 2>/dev/null || fail "no PostgreSQL server binaries, and no right to install them: $hint"
	root=(sudo -n)
fi

echo "setup: installing PostgreSQL's server with apt-get" >&2
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >&2; }
apt update
apt install -y --no-install-recommends postgresql-common
# Only the binaries are wanted: no cluster of the system, no running service.
"${root[@]}" sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
apt install -y --no-install-recommends postgresql
have_postgres || fail "apt-get installed postgresql, but there is no initdb in /usr/lib/postgresql/*/bin"
