#!/usr/bin/env bash
# Writes the images that the cluster's pods run to images.tar of a directory, whose folder image holds programs of the cluster's own.
# Needs a Docker daemon (test/docker.sh).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
built=$1
"$here/../images/build.sh"
docker build --quiet --tag backfleet-test/kube --file "$here/Dockerfile" "$built/image" >/dev/null
docker save --output "$built/images.tar" backfleet-test/{kube,backfleet,nats,postgres,prometheus}
