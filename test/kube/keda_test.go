package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	kedaIP        = "10.96.0.66"
	prometheusURL = "http://10.96.0.90:9090" // of testdata/prometheus.yaml
)

// autoscaled are the values that scale the site's workers, faster than users would.
const autoscaled = `
worker: {slots: 1}
autoscaling:
  enabled: true
  maxReplicas: 8
  pollingInterval: 5
  cooldownPeriod: 20
  scaleDownWindow: 60
  prometheus: {serverAddress: "` + prometheusURL + `"}
podMonitor: {enabled: true}
`

// installKEDA installs KEDA from its own manifests. It stays: a finalizer of it stands in every ScaledObject.
func installKEDA(t *testing.T) {
	t.Helper()
	installDefinitions(t)
	for _, file := range []string{
		"general/namespace", "service_account/service_account", "rbac/role", "rbac/role_binding", "rbac/aggregate_cluster_roles",
		"manager/service", "manager/manager", "webhooks/service", "webhooks/webhooks", "webhooks/validation_webhooks",
		"metrics-server/role", "metrics-server/role_binding", "metrics-server/service", "metrics-server/api_service", "metrics-server/deployment",
	} {
		kube.applyFile(t, "keda", filepath.Join(os.Getenv("KEDA_CONFIG"), file+".yaml"),
			"ghcr.io/kedacore/keda:latest", "backfleet-test/kube:latest",
			"ghcr.io/kedacore/keda-metrics-apiserver:latest", "backfleet-test/kube:latest",
			"ghcr.io/kedacore/keda-admission-webhooks:latest", "backfleet-test/kube:latest",
			"imagePullPolicy: Always", "imagePullPolicy: Never",
			// There is no DNS here.
			"      serviceAccountName: keda-operator\n", "      serviceAccountName: keda-operator\n      hostAliases: [{ip: "+kedaIP+", hostnames: [keda-operator.keda.svc.cluster.local]}]\n",
			"  ports:\n  - name: metricsservice\n", "  clusterIP: "+kedaIP+"\n  ports:\n  - name: metricsservice\n",
		)
	}
	took := kube.until(t, "KEDA is ready, and answers for the API server", func(ctx context.Context) error {
		if err := ready(ctx, "keda", "", 3); err != nil {
			return err
		}
		return kube.client.Discovery().RESTClient().Get().AbsPath("/apis/external.metrics.k8s.io/v1beta1").Do(ctx).Error()
	})
	t.Logf("KEDA is ready after %s", took.Round(100*time.Millisecond))
}

// KEDA scales the workers by what the fleet wants: from none to what a job may use, to none while the database is held, although the
// stream is full, back again, and to none at the end.
func TestScaledByWhatIsWanted(t *testing.T) {
	s := newSite(t, "scaled", 200_000)
	installKEDA(t)
	kube.namespace(t, "monitoring", nil)
	kube.applyFile(t, "monitoring", "testdata/prometheus.yaml", "@NAMESPACE@", "monitoring")
	kube.until(t, "Prometheus is ready", func(ctx context.Context) error { return ready(ctx, "monitoring", "app=prometheus", 1) })
	s.install(true, fleetValues, autoscaled)
	t.Logf("nothing is wanted: no worker is left after %s", s.untilReady("worker", 0).Round(time.Second))

	s.submit("slow", "rows_per_range: 500\nworkers: {max: 4}\n")
	t.Logf("a job wants four slots: four workers after %s", s.untilWorkers(4).Round(time.Second))
	s.sql(`SELECT backfleet.hold('1 hour')`)
	t.Logf("the database is held: no worker is left after %s", s.untilReady("worker", 0).Round(time.Second))
	lag := s.metric(`max(backfleet_job_ranges_open{job_name="slow"})`)
	require.Greater(t, lag, 100.0, "and yet the job has a lag")
	t.Logf("with %v ranges in the consumer's lag, of which a trigger by lag would have made the most workers", lag)
	s.sql(`SELECT backfleet.release()`)
	t.Logf("released: four workers after %s", s.untilWorkers(4).Round(time.Second))
	s.hurry()
	s.proven("slow")
	t.Logf("done: no worker is left after %s", s.untilReady("worker", 0).Round(time.Second))

	s.uninstall()
	s.nothingLeft()
}

// untilWorkers waits until so many workers are ready, and the autoscaler wants no other number.
func (s *site) untilWorkers(want int) time.Duration {
	s.Helper()
	return kube.until(s.T, fmt.Sprintf("%d workers are ready", want), func(ctx context.Context) error {
		if err := ready(ctx, s.namespace, component("worker"), want); err != nil {
			return fmt.Errorf("%w; wanted: %v", err, s.metric(`max(backfleet_wanted_slots)`))
		}
		scalers, err := kube.client.AutoscalingV2().HorizontalPodAutoscalers(s.namespace).List(ctx, metav1.ListOptions{})
		if err != nil || len(scalers.Items) != 1 {
			return fmt.Errorf("%d autoscalers: %w", len(scalers.Items), err)
		}
		if now := scalers.Items[0].Status.DesiredReplicas; int(now) != want {
			return fmt.Errorf("the autoscaler wants %d", now)
		}
		return nil
	})
}

// metric is the value of a Prometheus query with one result; -1 while it has none.
func (s *site) metric(query string) float64 {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodGet, prometheusURL+"/api/v1/query?query="+url.QueryEscape(query), nil)
	require.NoError(s, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(s, err)
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	require.NoError(s, json.Unmarshal(body, &answer), string(body))
	if len(answer.Data.Result) == 0 {
		return -1
	}
	require.Len(s, answer.Data.Result, 1, query)
	var v float64
	_, err = fmt.Sscan(answer.Data.Result[0].Value[1].(string), &v)
	require.NoError(s, err)
	return v
}
