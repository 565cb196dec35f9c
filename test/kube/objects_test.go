package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// decode reads the objects of a file of YAML.
func decode(t *testing.T, text string) (objects []*unstructured.Unstructured) {
	t.Helper()
	for from := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		o := &unstructured.Unstructured{}
		err := from.Decode(o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		require.NoError(t, err)
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

// resource is where objects of a kind are in the API.
func (c *cluster) resource(kind schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		c.mapper.Reset()
		return nil, err
	}
	if mapping.Scope.Name() == "namespace" {
		return c.dynamic.Resource(mapping.Resource).Namespace(namespace), nil
	}
	return c.dynamic.Resource(mapping.Resource), nil
}

// apply applies objects; an unknown field is an error.
func (c *cluster) apply(t *testing.T, namespace string, objects ...*unstructured.Unstructured) {
	t.Helper()
	for _, o := range objects {
		in := o.GetNamespace()
		if in == "" {
			in = namespace
		}
		c.until(t, "applied "+o.GetKind()+" "+o.GetName(), func(ctx context.Context) error {
			r, err := c.resource(o.GroupVersionKind(), in)
			if err != nil {
				return err
			}
			text, err := o.MarshalJSON()
			require.NoError(t, err)
			_, err = r.Patch(ctx, o.GetName(), "application/apply-patch+yaml", text, metav1.PatchOptions{FieldManager: "test", FieldValidation: "Strict", Force: new(true)})
			if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
				require.NoError(t, err, "%s %s", o.GetKind(), o.GetName())
			}
			return err
		})
	}
}

// applyFile applies the objects of a file, with pairs of replacements.
func (c *cluster) applyFile(t *testing.T, namespace, path string, replace ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	c.apply(t, namespace, decode(t, strings.NewReplacer(replace...).Replace(string(text)))...)
}

// names are the objects of a namespace as Kind/name, of every kind that can be listed, but events, and what Kubernetes puts into each one.
func (c *cluster) names(t *testing.T, namespace string) (names []string) {
	t.Helper()
	lists, err := c.client.Discovery().ServerPreferredNamespacedResources()
	require.NoError(t, err)
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(t, err)
		for _, r := range list.APIResources {
			if r.Kind == "Event" || !strings.Contains(fmt.Sprint(r.Verbs), "list") || strings.HasSuffix(version.Group, "metrics.k8s.io") {
				continue
			}
			found, err := c.dynamic.Resource(version.WithResource(r.Name)).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err)
			for _, o := range found.Items {
				if name := r.Kind + "/" + o.GetName(); name != "ConfigMap/kube-root-ca.crt" && name != "ServiceAccount/default" {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// logs writes the last lines of each process of the node.
func (c *cluster) logs(to io.Writer) {
	for _, p := range c.processes {
		text, _ := os.ReadFile(p.log)
		fmt.Fprintf(to, "=== %s\n%s\n", p.name, last(text, 25))
	}
}
