package kube

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"sigs.k8s.io/yaml"
)

const (
	chartDir = "../../deploy/helm/backfleet"
	image    = "backfleet-test/backfleet"
)

// helm does what the helm command does in one namespace.
type helm struct {
	*testing.T
	*action.Configuration
	namespace string
}

// newHelm makes a namespace that admits only pods of Pod Security's strictest level. It is deleted when the test ends.
func newHelm(t *testing.T, namespace string) *helm {
	t.Helper()
	kube.namespace(t, namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"})
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace, flags.CacheDir = &kube.kubeconfig, &namespace, new(t.TempDir())
	h := &helm{T: t, Configuration: &action.Configuration{}, namespace: namespace}
	require.NoError(t, h.Init(flags, namespace, "secret", func(string, ...any) {}))
	return h
}

func decodeValues(t *testing.T, texts ...string) map[string]any {
	t.Helper()
	values := map[string]any{}
	for _, text := range texts {
		require.NoError(t, yaml.UnmarshalStrict([]byte(text), &values))
	}
	return values
}

// install is `helm install fleet`, and with wait `helm install fleet --wait`.
func (h *helm) install(wait bool, values ...string) *release.Release {
	h.Helper()
	c, err := loader.Load(chartDir)
	require.NoError(h, err)
	install := action.NewInstall(h.Configuration)
	install.ReleaseName, install.Namespace, install.Wait, install.Timeout = "fleet", h.namespace, wait, patience
	r, err := install.RunWithContext(h.Context(), c, decodeValues(h.T, values...))
	require.NoError(h, err)
	return r
}

// upgrade is `helm upgrade fleet --wait`.
func (h *helm) upgrade(values ...string) {
	h.Helper()
	c, err := loader.Load(chartDir)
	require.NoError(h, err)
	upgrade := action.NewUpgrade(h.Configuration)
	upgrade.Namespace, upgrade.Wait, upgrade.Timeout = h.namespace, true, patience
	_, err = upgrade.RunWithContext(h.Context(), "fleet", c, decodeValues(h.T, values...))
	require.NoError(h, err)
}

// uninstall is `helm uninstall fleet --wait`.
func (h *helm) uninstall() time.Duration {
	h.Helper()
	begun := time.Now()
	uninstall := action.NewUninstall(h.Configuration)
	uninstall.Wait, uninstall.Timeout, uninstall.DeletionPropagation = true, patience, "foreground"
	_, err := uninstall.Run("fleet")
	require.NoError(h, err)
	return time.Since(begun)
}
