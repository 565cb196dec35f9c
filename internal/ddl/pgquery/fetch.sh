#!/bin/sh
# Writes libpg_query.wasm.gz anew: the WebAssembly build of libpg_query out of the module that publishes it. Go's checksum database
# vouches for the bytes. Raise the version here.
set -eu
module=github.com/wasilibs/go-pgquery@v0.0.0-20260728010200-155ebad2880e
cd "$(dirname "$0")"
dir=$(cd / && GOFLAGS=-mod=mod go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
gzip -9nc "$dir/internal/wasm/libpg_query.so" >libpg_query.wasm.gz
{
	echo "libpg_query.wasm.gz is taken from $module, whose licences follow."
	echo
	cat "$dir/LICENSE"
	echo
	cat "$dir/NOTICE.txt"
} >LICENSE-libpg_query
