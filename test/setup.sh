#!/usr/bin/env bash
# Makes this machine ready for the demo and the tests: installs from the package manager what is missing, and changes
# nothing when all is there. To install it needs root, or sudo without a password.
#
#   test/setup.sh             PostgreSQL's server binaries
#   test/setup.sh WORD ...    also, for each word:
#     race         a C compiler, for Go's race detector
#     versions     the server binaries of every major version of PostgreSQL that is supported, from npm
#     pgbouncer    PgBouncer
#     systemd      systemd's programs, to run the units under
#     prometheus   Prometheus, with promtool
#     docker       Docker, both kinds of Compose, and what makes images from Debian's packages
#     net          the ip command, to make network namespaces
#     kube         what a Kubernetes node needs beside Docker: containerd's network plugins and nftables
#     browser      Chromium, and axe-core from npm, to test the dashboard in
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

# The versions' directory must be readable by the user that PostgreSQL runs as, so root's is not in its home: see
# versionsDir in test/harness. The package's install script only makes links; it is run here because npm may refuse to.
install_versions() {
	local want=test/versions dir=${BACKFLEET_TEST_VERSIONS:-${XDG_CACHE_HOME:-$HOME/.cache}/backfleet/versions}
	[[ $(id -u) -ne 0 ]] || dir=${BACKFLEET_TEST_VERSIONS:-/var/cache/backfleet/versions}
	cmp -s "$want/package-lock.json" "$dir/installed" && return
	[[ $(uname -sm) == "Linux x86_64" ]] || fail "the PostgreSQL versions are pinned for Linux on x86-64 only"
	command -v npm >/dev/null || install "npm, which the PostgreSQL versions come from" nodejs npm
	mkdir -p "$dir"
	cp "$want/package.json" "$want/package-lock.json" "$dir/"
	echo "setup: PostgreSQL 14 to 18: npm ci in $dir" >&2
	(umask 022 && cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
	local package
	for package in "$dir"/node_modules/postgresql-*; do
		(cd "$package" && node scripts/hydrate-symlinks.js && chmod -R go+rX .)
		"$package/native/bin/postgres" --version >&2
	done
	cp "$want/package-lock.json" "$dir/installed"
}

# Only the program is wanted: no service of the system.
install_pgbouncer() {
	command -v pgbouncer >/dev/null || [[ -x /usr/sbin/pgbouncer ]] && return
	install "PgBouncer" pgbouncer
	! command -v systemctl >/dev/null || "${root[@]}" systemctl disable --now pgbouncer >/dev/null 2>&1 || true
}

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

# Only the programs are wanted: no service of the system. test/docker.sh starts a daemon where none answers.
install_docker() {
	command -v dockerd >/dev/null || install "Docker" docker.io iptables
	command -v docker-compose >/dev/null || install "Compose, the classic" docker-compose
	command -v mmdebstrap >/dev/null || install "mmdebstrap" mmdebstrap
	docker compose version >/dev/null 2>&1 || install_compose_plugin
}

# Compose as a plugin of the docker command is in Debian from 13 on. Its package is one program without libraries, so an older Debian
# takes that program out of it.
install_compose_plugin() {
	local work mirror plugins=/usr/local/lib/docker/cli-plugins
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $(. /etc/os-release && echo "$VERSION_CODENAME")" | head -n 1)
	echo "setup: no docker compose: apt-get download docker-compose from Debian 13" >&2
	work=$(mktemp -d)
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/sources.list"
	local apt_get=(apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$work/lists"
		-o Dir::Cache="$work/cache" -o Dir::State::Status=/dev/null -o Acquire::Languages=none -o APT::Sandbox::User="$(id -un)")
	"${apt_get[@]}" update >&2
	(cd "$work" && "${apt_get[@]}" download docker-compose >&2)
	dpkg-deb --extract "$work"/docker-compose_*.deb "$work/extracted"
	[[ $(id -u) -eq 0 ]] || root=(sudo -n)
	"${root[@]}" mkdir -p "$plugins"
	"${root[@]}" cp "$work/extracted/usr/libexec/docker/cli-plugins/docker-compose" "$plugins/"
	rm -rf "$work"
	docker compose version >&2
}

# axe-core is one script, which the tests load into the pages.
install_browser() {
	command -v chromium >/dev/null || install "Chromium" chromium fonts-dejavu-core
	local dir=test/browser/axe
	cmp -s "$dir/package-lock.json" "$dir/node_modules/.installed" && return
	command -v npm >/dev/null || install "npm, which axe-core comes from" nodejs npm
	echo "setup: axe-core: npm ci in $dir" >&2
	(cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
	cp "$dir/package-lock.json" "$dir/node_modules/.installed"
}

install_ip() {
	command -v ip >/dev/null || install "ip command, which makes network namespaces" iproute2
}

# Docker has brought containerd and runc.
install_kube() {
	[[ -x /usr/lib/cni/ptp ]] || install "network plugins for containerd" containernetworking-plugins
	command -v nft >/dev/null || install "nftables" nftables
}

cd "$(dirname "$0")/.."
for word in "$@"; do
	case $word in
	race) install_compiler ;;
	versions) install_versions ;;
	pgbouncer) install_pgbouncer ;;
	systemd) install_systemd ;;
	prometheus) install_prometheus ;;
	docker) install_docker ;;
	net) install_ip ;;
	kube) install_docker && install_ip && install_kube ;;
	browser) install_browser ;;
	*) fail "$word: not a word that it knows" ;;
	esac
done
