// Package kube runs the Helm chart on a Kubernetes: one node of this machine with the real components of the newest release, built from
// Go's modules (etcd, API server, controller manager, scheduler, kubelet, kube-proxy), and containerd and runc of Debian's.
//
//	make cluster
//
// It is a module of its own, for it needs all of Kubernetes, and runs by hand, for that takes minutes to build. run.sh builds, makes the
// images, and starts the tests in namespaces of their own: network, mounts, processes. Nothing that they start outlives them, and
// this machine's network stays as it is.
package kube
