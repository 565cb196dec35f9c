#!/usr/bin/env bash
# Builds a Kubernetes from Go's modules and runs the tests of this directory on it, with their flags as arguments:
#
#   test/kube/run.sh -test.v -test.run Fleet
#
# Needs root, and `test/setup.sh docker kube`. What it builds is kept below the user's cache directory.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
built=${XDG_CACHE_HOME:-$HOME/.cache}/backfleet/kube

build() { # program module package [flag...]
	local program=$1 module=$2 package=$3
	shift 3
	CGO_ENABLED=0 go -C "$here/$module" build -trimpath -o "$built/$program" "$@" "$package"
}

# In namespaces of its own: a network with one address, empty directories where a node keeps its state, and processes that end with this one.
# The kubelet sets some of the kernel's parameters, which have no namespace: it finds files that already say what it wants.
inside() {
	ip link set lo up
	ip link add node0 type veth peer name wire0
	ip link set wire0 up
	ip addr add 192.0.2.1/24 dev node0
	ip link set node0 up
	ip route add default dev node0
	echo 1 >/proc/sys/net/ipv4/ip_forward
	local path
	for path in /run /var/log /var/lib/cni /var/lib/kubelet; do
		mkdir -p "$path"
		mount -t tmpfs tmpfs "$path"
	done
	local parameter value
	while read -r parameter value; do
		mkdir -p "/run/sys/$(dirname "$parameter")"
		echo "$value" >"/run/sys/$parameter"
		mount --bind "/run/sys/$parameter" "/proc/sys/$parameter"
	done <<-END
		vm/overcommit_memory 1
		vm/panic_on_oom 0
		kernel/panic 10
		kernel/panic_on_oops 1
		kernel/keys/root_maxkeys 1000000
		kernel/keys/root_maxbytes 25000000
	END
	cd "$here"
	"$built/kube.test" "$@"
}

# The groups that pods run in: one of each hierarchy, or of the only one.
cgroups() {
	local hierarchies=(/sys/fs/cgroup)
	[[ -e /sys/fs/cgroup/cgroup.procs ]] || hierarchies=(/sys/fs/cgroup/*/)
	printf '%s/backfleet-kube\n' "${hierarchies[@]%/}"
}

if [[ ${1:-} == --inside ]]; then
	shift
	inside "$@"
	exit
fi
[[ $(id -u) -eq 0 ]] || {
	echo "run.sh: a Kubernetes node needs root" >&2
	exit 1
}
mkdir -p "$built/image"
version=$(go -C "$here/node" list -m -f "{{.Version}}" k8s.io/kubernetes)
build node node . -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version"
build image/pause . ./pause -ldflags '-s -w'
build backfleet ../.. ./cmd/backfleet
CGO_ENABLED=0 go -C "$here" test -c -o "$built/kube.test" .
"$here/../docker.sh" "$here/images.sh" "$built"

# The definitions of other projects' kinds are in no package, so no go.mod can name their modules.
module() { go mod download -json "$1" | sed -n 's/^\s*"Dir": "\(.*\)",$/\1/p'; }
SCALED_OBJECT_DEFINITION=$(module github.com/kedacore/keda/v2@v2.21.0)/config/crd/bases/keda.sh_scaledobjects.yaml
POD_MONITOR_DEFINITION=$(module github.com/prometheus-operator/prometheus-operator@v0.85.0)/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml
export SCALED_OBJECT_DEFINITION POD_MONITOR_DEFINITION BACKFLEET_KUBE_BUILT=$built
work=$(mktemp -d)
export TMPDIR=$work
mapfile -t groups < <(cgroups)
finish() {
	local group
	for group in "${groups[@]}"; do
		find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
	done
	rm -rf "$work"
}
trap finish EXIT
mkdir -p "${groups[@]}"
unshare --net --mount --pid --fork --kill-child --mount-proc "$0" --inside "$@"
