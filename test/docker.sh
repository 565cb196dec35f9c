#!/usr/bin/env bash
# Runs a command where a Docker daemon answers: the one that is there, or else one of its own, with images kept below the user's
# cache directory, ended with the command. Needs `test/setup.sh docker`, and root for a daemon of its own.
#
#   test/docker.sh go test ./test/fleet
set -euo pipefail

if docker info >/dev/null 2>&1; then
	exec "$@"
fi
[[ $(id -u) -eq 0 ]] || {
	echo "docker.sh: no Docker daemon answers, and starting one needs root" >&2
	exit 1
}
home="${XDG_CACHE_HOME:-$HOME/.cache}/backfleet/docker"
mkdir -p "$home"
exec 8>"$home/lock"
flock 8 # one daemon at a time may own the directory

run=$(mktemp -d)
export DOCKER_HOST=unix://$run/docker.sock
# Not in the terminal's process group: Ctrl-C ends the command, and this script the daemon.
set -m
dockerd --host "$DOCKER_HOST" --data-root "$home/data" --exec-root "$run/exec" --pidfile "$run/pid" >"$run/log" 2>&1 8>&- &
daemon=$!
set +m
finish() {
	kill "$daemon" 2>/dev/null || true
	wait "$daemon" 2>/dev/null || true
	umount "$run"/exec/netns/* 2>/dev/null || true # the daemon leaves its network namespace mounted
	rm -rf "$run"
}
trap finish EXIT
trap 'exit 130' INT TERM
for _ in {1..300}; do
	docker info >/dev/null 2>&1 && break
	kill -0 "$daemon" 2>/dev/null || break
	sleep 0.1
done
docker info >/dev/null 2>&1 || {
	echo "docker.sh: the Docker daemon did not start; its log:" >&2
	tail -n 30 "$run/log" >&2
	exit 1
}
"$@"
