package kube

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// installDefinitions makes the kinds of KEDA and of the Prometheus operator known to the API server, from their own modules.
func installDefinitions(t *testing.T) {
	t.Helper()
	keda, err := filepath.Glob(filepath.Join(os.Getenv("KEDA_CONFIG"), "crd/bases/*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, keda, "KEDA_CONFIG names the folder config of KEDA's module")
	for _, path := range append(keda, os.Getenv("POD_MONITOR_DEFINITION")) {
		kube.applyFile(t, "", path)
	}
}
