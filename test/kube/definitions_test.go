package kube

import (
	"os"
	"testing"
)

// installDefinitions makes the kinds of KEDA and of the Prometheus operator that the chart uses known to the API server, from their own modules.
func installDefinitions(t *testing.T) {
	t.Helper()
	for _, file := range []string{"SCALED_OBJECT_DEFINITION", "POD_MONITOR_DEFINITION"} {
		kube.applyFile(t, "", os.Getenv(file))
	}
}
