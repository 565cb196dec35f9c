#!/usr/bin/env bash
# Makes the images that tests run in containers, from Debian's packages and Go's modules: no registry of images is asked.
# What is there and unchanged is kept. Needs a Docker daemon (test/docker.sh) and `test/setup.sh docker`.
#
#   backfleet-test/debian       the base: PostgreSQL, Prometheus, CA roots, time zones
#   backfleet-test/postgres     as the public image postgres: programs on the PATH, a data directory of the user postgres
#   backfleet-test/prometheus   as the public image prom/prometheus
#   backfleet-test/nats         as the public image nats: nats-server of go.mod's version from scratch
#   backfleet-test/go           as the public image golang: this machine's Go, to build the product's image with
#   backfleet-test/backfleet    the product's image by its own Dockerfile
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/test/images
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
repository=backfleet-test

# The image is made anew when what it is made from changes: its key, kept in a label.
key() { cat "$@" | sha256sum | cut -c1-16; }
is() { [[ $(docker image inspect --format '{{index .Config.Labels "key"}}' "$repository/$1" 2>/dev/null) == "$2" ]]; }
build() { # name key context [argument...]
	local name=$1 key=$2 context=$3
	shift 3
	echo "images: building $name" >&2
	docker build --quiet --label "key=$key" --tag "$repository/$name" "$@" "$context" >/dev/null
}

# All packages in one go are unpacked faster than image by image.
packages=ca-certificates,tzdata,postgresql,prometheus
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
base=$(echo "$suite $packages" | key "$here/build.sh" -)
if ! is debian "$base"; then
	echo "images: building debian ($suite with $packages)" >&2
	mmdebstrap --quiet --variant=minbase --include="$packages" \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-confold' \
		--essential-hook='mkdir -p "$1"/etc/postgresql-common && echo "create_main_cluster = false" >"$1"/etc/postgresql-common/createcluster.conf' \
		"$suite" - | docker import --change "LABEL key=$base" --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
		--change 'CMD ["bash"]' - "$repository/debian" >/dev/null
fi

for name in postgres prometheus; do
	k=$(echo "$base" | key "$here/$name.Dockerfile" -)
	is "$name" "$k" || build "$name" "$k" "$here" --file "$here/$name.Dockerfile"
done

cd "$root"
version=$(go list -m -f '{{.Version}}' github.com/nats-io/nats-server/v2)
k=$(echo "$version $(go env GOVERSION)" | key "$here/nats.Dockerfile" -)
if ! is nats "$k"; then
	CGO_ENABLED=0 go build -trimpath -o "$work/nats-server" github.com/nats-io/nats-server/v2
	build nats "$k" "$work" --file "$here/nats.Dockerfile"
fi

# With the roots that this machine trusts, for the module proxy may be behind one of its own.
roots=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
k=$(echo "$base $(go env GOVERSION)" | key "$here/go.Dockerfile" "$roots" -)
if ! is go "$k"; then
	cp "$here/go.Dockerfile" "$work/Dockerfile"
	cp "$roots" "$work/roots.pem"
	# Without what only the work on Go itself needs.
	tar --create --directory "$work" Dockerfile roots.pem --directory "$(dirname "$(go env GOROOT)")" \
		--exclude='*/testdata' --exclude=go/test --exclude=go/api --exclude=go/doc --exclude=go/pkg/obj "$(basename "$(go env GOROOT)")" |
		build go "$k" -
fi

# What a builder without BuildKit has left of earlier builds is of no use once their sources have changed.
docker image prune --force --filter label=stage=backfleet-build --filter until=24h >/dev/null
# Of the host's network, for it reaches the package registries, and this machine may forward nothing.
echo "images: building backfleet" >&2
make --no-print-directory image IMAGE=$repository/backfleet \
	IMAGEFLAGS="--quiet --network host --build-arg GO_IMAGE=$repository/go --build-arg GOPROXY=$(go env GOPROXY)" >/dev/null
