#!/usr/bin/env bash
# Makes this machine ready for the demo and the tests: installs from the package manager what is missing, and changes
# nothing when all is there. To install it needs root, or sudo without a password.
#
#   test/setup.sh             PostgreSQL's server binaries
#   test/setup.sh WORD ...    also, for each word:
#     race         a C compiler, for Go's race detector
#     systemd      systemd's programs, to run the units under
#     prometheus   Prometheus, with promtool
#     net          the ip command, to make network namespaces
set -euo pipefail

fail() {
	echo "setup: $1" >&2
	exit 1
}

have_postgres() {
	if [[ -n ${BACKFLEET_TEST_PG_BIN:-} ]]; then
		[[ -x $BACKFLEET_TEST_PG_BIN/initdb ]]
	else
		compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null
	fi
}

have_compiler() { command -v "$(go env CC)" >/dev/null; }

# install installs packages with apt-get; $1 says what they are for.
root=()
updated=false
install() {
	local what=$1
	shift
	command -v apt-get >/dev/null || fail "no $what, and no apt-get to install it with: please install it"
	if [[ $(id -u) -ne 0 ]]; then
		sudo -n true 2>/dev/null || fail "no $what, and no right to install it: please run apt-get install $*"
		root=(sudo -n)
	fi
	echo "setup: no $what: apt-get install $*" >&2
	local apt_get=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
	$updated || "${apt_get[@]}" update >&2
	updated=true
	"${apt_get[@]}" install -y --no-install-recommends "$@" >&2
}

command -v go >/dev/null || fail "no go command: install Go 1.26 or newer from https://go.dev/dl"

if ! have_postgres; then
	what="PostgreSQL server binaries (14 or newer; or set BACKFLEET_TEST_PG_BIN to their directory)"
	[[ -z ${BACKFLEET_TEST_PG_BIN:-} ]] || fail "BACKFLEET_TEST_PG_BIN=$BACKFLEET_TEST_PG_BIN holds no initdb"
	install "$what" postgresql-common
	# Only the binaries are wanted: no cluster of the system, no running service.
	"${root[@]}" sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
	install "$what" postgresql
	have_postgres || fail "apt-get installed postgresql, but there is no /usr/lib/postgresql/*/bin/initdb"
fi

install_compiler() {
	have_compiler || install "C compiler, which Go's race detector needs" gcc libc6-dev
}

# Only the programs are wanted: nothing of it is started on this machine.
install_systemd() {
	[[ -x /usr/lib/systemd/systemd ]] && command -v systemd-analyze >/dev/null && return
	install "systemd" systemd
}

# Only the programs are wanted: no service of the system.
install_prometheus() {
	command -v prometheus >/dev/null && command -v promtool >/dev/null && return
	install "Prometheus" prometheus
	! command -v systemctl >/dev/null || "${root[@]}" systemctl disable --now prometheus >/dev/null 2>&1 || true
}

install_ip() {
	command -v ip >/dev/null || install "ip command, which makes network namespaces" iproute2
}

for word in "$@"; do
	case $word in
	race) install_compiler ;;
	systemd) install_systemd ;;
	prometheus) install_prometheus ;;
	net) install_ip ;;
	*) fail "$word: not a word that it knows" ;;
	esac
done
