package kube

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// little is the least that a user says.
const little = `
databases: {main: {secret: main, key: dsn}}
networkPolicy: {enabled: false}
podDisruptionBudget: {enabled: false}
`

// everything turns on all that the chart can do. No node has the labels, so that no pod runs.
const everything = `
image: {repository: registry.internal/backfleet, tag: v1.2.3}
imagePullSecrets: [{name: registry}]
databases:
  main: {secret: main, key: dsn, replicas: {standby1: {secret: main-standby1, key: dsn}}}
  eu-2: {secret: eu, key: DSN}
postgresCA: {secret: postgres-ca}
nats:
  url: tls://nats-0:4222,tls://nats-1:4222
  coordinatorCreds: {secret: nats-coordinator}
  workerCreds: {secret: nats-worker, key: worker.creds}
  ca: {secret: nats-ca}
coordinator:
  replicas: 3
  apiTokens: {secret: tokens}
  tls: {secret: api-tls}
  extraArgs: [--open-check]
  extraEnv: [{name: GOMAXPROCS, value: "2"}]
  podAnnotations: {note: c}
  nodeSelector: {pool: a}
  tolerations: [{key: dedicated, operator: Exists}]
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}}
worker:
  slots: 8
  terminationGracePeriodSeconds: 240
  extraArgs: [--log-level=debug]
  extraEnv: [{name: GOMAXPROCS, value: "2"}]
  podAnnotations: {note: w}
  nodeSelector: {pool: b}
  tolerations: [{key: spot, operator: Exists}]
autoscaling:
  enabled: true
  minReplicas: 1
  maxReplicas: 64
  prometheus: {selector: 'cluster="eu1"', authModes: bearer, authenticationRef: prometheus}
networkPolicy:
  databaseCIDRs: [10.1.0.0/16, "fd00::/8"]
  apiFrom: [{namespaceSelector: {matchLabels: {team: sre}}}]
  extraEgress: [{ports: [{port: 9090, protocol: TCP}]}]
podMonitor: {enabled: true, labels: {release: prometheus}}
`

// The API server takes every object of the chart with its strict validation, Pod Security's strictest level takes its pods, and what was
// installed goes with the release.
func TestEveryObjectIsAdmitted(t *testing.T) {
	for name, c := range map[string]struct {
		values string
		want   []string
	}{
		"as-it-is": {"worker: {replicas: 1}", []string{"Deployment/fleet-backfleet-coordinator", "Deployment/fleet-backfleet-worker", "NetworkPolicy/fleet-backfleet-coordinator",
			"NetworkPolicy/fleet-backfleet-worker", "PodDisruptionBudget/fleet-backfleet-coordinator", "Service/fleet-backfleet-coordinator", "ServiceAccount/fleet-backfleet"}},
		"little": {little, []string{"Deployment/fleet-backfleet-coordinator", "Deployment/fleet-backfleet-worker", "Service/fleet-backfleet-coordinator",
			"ServiceAccount/fleet-backfleet"}},
		"everything": {everything, []string{"Deployment/fleet-backfleet-coordinator", "Deployment/fleet-backfleet-worker", "NetworkPolicy/fleet-backfleet-coordinator",
			"NetworkPolicy/fleet-backfleet-worker", "PodDisruptionBudget/fleet-backfleet-coordinator", "PodMonitor/fleet-backfleet", "ScaledObject/fleet-backfleet-worker",
			"Service/fleet-backfleet-coordinator", "ServiceAccount/fleet-backfleet"}},
	} {
		t.Run(name, func(t *testing.T) {
			installDefinitions(t)
			h := newHelm(t, "admission-"+name)
			require.Empty(t, kube.names(t, h.namespace))
			h.install(false, c.values)
			var have []string
			for _, name := range kube.names(t, h.namespace) {
				if kind, _, _ := strings.Cut(name, "/"); !strings.Contains("Secret Pod ReplicaSet Endpoints EndpointSlice HorizontalPodAutoscaler", kind) {
					have = append(have, name)
				}
			}
			require.ElementsMatch(t, c.want, have)
			kube.until(t, "pods are admitted", func(ctx context.Context) error {
				pods, err := kube.client.CoreV1().Pods(h.namespace).List(ctx, metav1.ListOptions{})
				if err == nil && len(pods.Items) < 3 {
					err = fmt.Errorf("there are %d", len(pods.Items))
				}
				return err
			})
			t.Logf("gone after %s", h.uninstall().Round(1e8))
			kube.until(t, "nothing is left", func(context.Context) error {
				if left := kube.names(t, h.namespace); len(left) > 0 {
					return fmt.Errorf("there are still %s", left)
				}
				return nil
			})
		})
	}
}
