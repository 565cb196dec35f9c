#!/usr/bin/env bash
# Runs every fuzz test for a short time, one after the other: go test takes only one at once.
set -euo pipefail
time=${FUZZTIME:-20s}
grep -rlE --include='*_test.go' '^func Fuzz[A-Z]' . | while read -r file; do
	grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | cut -d' ' -f2 | while read -r name; do
		echo "$name in $(dirname "$file") for $time"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$(dirname "$file")" </dev/null
	done
done
