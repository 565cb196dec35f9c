package kube

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// kube is the cluster that all tests share.
var kube *cluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	built := os.Getenv("BACKFLEET_KUBE_BUILT")
	if built == "" {
		fmt.Fprintln(os.Stderr, "these tests need a machine of their own: run them by test/kube/run.sh")
		return 1
	}
	dir, err := os.MkdirTemp("", "kube")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	begun := time.Now()
	kube, err = startCluster(built, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the cluster:", err)
		kube.logs(os.Stderr)
		return 1
	}
	fmt.Fprintf(os.Stderr, "the cluster is ready after %s\n", time.Since(begun).Round(100*time.Millisecond))
	code := m.Run()
	if code != 0 {
		kube.logs(os.Stderr)
	}
	return code
}
