package chart

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/kedacore/keda/v2/pkg/eventreason" // keeps the module, and with it KEDA's resource definitions, at the version of go.mod
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// objects are what a rendering holds, each decoded strictly into its type.
type objects struct {
	deployments []appsv1.Deployment
	services    []corev1.Service
	accounts    []corev1.ServiceAccount
	budgets     []policyv1.PodDisruptionBudget
	policies    []networkingv1.NetworkPolicy
	monitors    []monitoringv1.PodMonitor
	scalers     []scaledObject
	names       []string // Kind/name
}

// scaledObject is what the tests look at of one that KEDA's definition has admitted.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ScaleTargetRef struct{ Name string }
		Triggers       []struct {
			Type, MetricType string
			Metadata         map[string]string
		}
		MinReplicaCount, MaxReplicaCount int
	}
}

// decode reads the manifests of one file. A field that the type does not have, or has twice, is an error.
func (o *objects) decode(t *testing.T, manifests string) {
	t.Helper()
	for _, text := range strings.Split("\n"+manifests, "\n---\n") {
		raw, err := yaml.YAMLToJSONStrict([]byte(text))
		require.NoError(t, err, text)
		if string(raw) == "null" {
			continue
		}
		var head struct {
			metav1.TypeMeta   `json:",inline"`
			metav1.ObjectMeta `json:"metadata"`
		}
		require.NoError(t, json.Unmarshal(raw, &head))
		o.names = append(o.names, head.Kind+"/"+head.Name)
		switch head.APIVersion + " " + head.Kind {
		case "apps/v1 Deployment":
			o.deployments = append(o.deployments, strict[appsv1.Deployment](t, raw))
		case "v1 Service":
			o.services = append(o.services, strict[corev1.Service](t, raw))
		case "v1 ServiceAccount":
			o.accounts = append(o.accounts, strict[corev1.ServiceAccount](t, raw))
		case "policy/v1 PodDisruptionBudget":
			o.budgets = append(o.budgets, strict[policyv1.PodDisruptionBudget](t, raw))
		case "networking.k8s.io/v1 NetworkPolicy":
			o.policies = append(o.policies, strict[networkingv1.NetworkPolicy](t, raw))
		case "monitoring.coreos.com/v1 PodMonitor":
			o.monitors = append(o.monitors, strict[monitoringv1.PodMonitor](t, raw))
		case "keda.sh/v1alpha1 ScaledObject":
			o.scalers = append(o.scalers, scaled(t, raw))
		default:
			t.Fatalf("%s %s is no type that this test knows", head.APIVersion, head.Kind)
		}
	}
}

// strict decodes as an API server does with strict field validation.
func strict[T any](t *testing.T, raw []byte) (object T) {
	t.Helper()
	unknown, err := kjson.UnmarshalStrict(raw, &object)
	require.NoError(t, err, string(raw))
	require.Empty(t, unknown, string(raw))
	return object
}

// scaled holds an object against KEDA's definition of it, in which a field that is not named is refused.
func scaled(t *testing.T, raw []byte) (so scaledObject) {
	t.Helper()
	var object any
	require.NoError(t, json.Unmarshal(raw, &object))
	require.NoError(t, kedaSchema(t).Validate(object))
	require.NoError(t, json.Unmarshal(raw, &so))
	return so
}

func kedaSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2").Output()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "config/crd/bases/keda.sh_scaledobjects.yaml"))
	require.NoError(t, err)
	var definition struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
				}
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &definition))
	require.Equal(t, "v1alpha1", definition.Spec.Versions[0].Name)
	schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	closed(schema)
	schema["properties"].(map[string]any)["metadata"] = map[string]any{"type": "object"}
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("scaledobject.json", schema))
	compiled, err := c.Compile("scaledobject.json")
	require.NoError(t, err)
	return compiled
}

// closed makes an OpenAPI schema refuse what it does not name, as an API server that is asked to be strict.
func closed(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		_, named := s["properties"].(map[string]any)
		if _, open := s["additionalProperties"]; named && !open && s["x-kubernetes-preserve-unknown-fields"] != true {
			s["additionalProperties"] = false
		}
		for _, v := range s {
			closed(v)
		}
	case []any:
		for _, v := range s {
			closed(v)
		}
	}
}
