#!/usr/bin/env bash
# Runs the microbenchmarks of this tree and of another commit in turns, and compares them with benchstat.
#
#   test/microbench.sh [REF]    REF is the other commit; else where this branch left main. Set by the environment:
#     COUNT=6                   runs of each side
#     BENCH=.                   which benchmarks, as `go test -bench` takes it; '^BenchmarkServer' are those with servers
#     OUT=DIR                   where old.txt and new.txt stay; else they are removed
#
# Benchmarks that the other commit does not have are shown alone.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(./ranges ./throttle ./internal/statement ./internal/store ./internal/queue ./worker)
main=$(git rev-parse --verify -q main || git rev-parse --verify -q origin/main || git rev-parse HEAD)
ref=${1:-$(git merge-base HEAD "$main")}
commit=$(git rev-parse --verify -q "$ref^{commit}") || {
	echo "microbench: $ref is no commit here; give a branch, a tag or a hash" >&2
	exit 2
}
work=$(mktemp -d)
trap 'git worktree remove --force "$work/tree" 2>/dev/null; rm -rf "$work"' EXIT
out=${OUT:-$work/out}
mkdir -p "$out" "$work/old" "$work/new"
: >"$out/old.txt"
: >"$out/new.txt"
git worktree add -q --detach "$work/tree" "$commit"

build() { # tree, where to
	local p
	for p in "${packages[@]}"; do
		[[ ! -d $1/$p ]] || go -C "$1" test -c -o "$2/$(basename "$p").test" "$p"
	done
}
run() { # tree, binaries, where to
	local p binary
	for p in "${packages[@]}"; do
		binary=$2/$(basename "$p").test
		[[ ! -x $binary ]] || (cd "$1/$p" && "$binary" -test.run '^$' -test.bench "${BENCH:-.}" -test.benchmem -test.benchtime "${BENCHTIME:-200ms}") >>"$3"
	done
}
build "$work/tree" "$work/old"
build . "$work/new"
for i in $(seq "${COUNT:-6}"); do
	echo "microbench: run $i of ${COUNT:-6}, against $(git log -1 --format='%h %s' "$commit")" >&2
	run "$work/tree" "$work/old" "$out/old.txt"
	run "$PWD" "$work/new" "$out/new.txt"
done
go tool -modfile=test/tools/go.mod benchstat "old=$out/old.txt" "new=$out/new.txt"
