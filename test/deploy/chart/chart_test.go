package chart

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

const (
	dir       = "../../../deploy/helm/backfleet"
	namespace = "backfill"
)

// everything turns on all that the chart can do.
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

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	v := map[string]any{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &v))
	return v
}

// render renders the chart as `helm install fleet` would.
func render(text string, t *testing.T) (map[string]string, error) {
	t.Helper()
	c, err := loader.Load(dir)
	require.NoError(t, err)
	v, err := chartutil.ToRenderValues(c, values(t, text), chartutil.ReleaseOptions{Name: "fleet", Namespace: namespace, Revision: 1, IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, v)
}

func rendered(t *testing.T, text string) *objects {
	t.Helper()
	files, err := render(text, t)
	require.NoError(t, err)
	o := &objects{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") {
			o.decode(t, files[name])
		}
	}
	return o
}

var shapes = map[string]string{"as it is": "", "with everything": everything, "with little": "networkPolicy: {enabled: false}\npodDisruptionBudget: {enabled: false}"}

func TestLint(t *testing.T) {
	for name, text := range shapes {
		t.Run(name, func(t *testing.T) {
			for _, m := range lint.All(dir, values(t, text), namespace, true).Messages {
				require.LessOrEqual(t, m.Severity, support.InfoSev, m.Error())
			}
		})
	}
}

func TestTheObjects(t *testing.T) {
	for name, c := range map[string]struct {
		values string
		want   []string
	}{
		"as it is": {"", []string{
			"Deployment/fleet-backfleet-coordinator", "Deployment/fleet-backfleet-worker", "NetworkPolicy/fleet-backfleet-coordinator",
			"NetworkPolicy/fleet-backfleet-worker", "PodDisruptionBudget/fleet-backfleet-coordinator", "Service/fleet-backfleet-coordinator",
			"ServiceAccount/fleet-backfleet",
		}},
		"with everything": {everything, []string{
			"Deployment/fleet-backfleet-coordinator", "Deployment/fleet-backfleet-worker", "NetworkPolicy/fleet-backfleet-coordinator",
			"NetworkPolicy/fleet-backfleet-worker", "PodDisruptionBudget/fleet-backfleet-coordinator", "PodMonitor/fleet-backfleet",
			"ScaledObject/fleet-backfleet-worker", "Service/fleet-backfleet-coordinator", "ServiceAccount/fleet-backfleet",
		}},
		"with little": {shapes["with little"], []string{
			"Deployment/fleet-backfleet-coordinator", "Deployment/fleet-backfleet-worker", "Service/fleet-backfleet-coordinator", "ServiceAccount/fleet-backfleet",
		}},
	} {
		t.Run(name, func(t *testing.T) { require.ElementsMatch(t, c.want, rendered(t, c.values).names) })
	}
}

// Whatever selects pods selects the right ones, and a port by name is one that they have.
func TestSelectorsAndPorts(t *testing.T) {
	o := rendered(t, everything)
	pods := map[string]corev1.PodTemplateSpec{}
	for _, d := range o.deployments {
		pods[d.Labels["app.kubernetes.io/component"]] = d.Spec.Template
		require.Equal(t, []string{d.Name}, selected(t, o, d.Spec.Selector))
	}
	require.Len(t, pods, 2)
	require.Equal(t, []string{"fleet-backfleet-coordinator"}, selected(t, o, &metav1.LabelSelector{MatchLabels: o.services[0].Spec.Selector}))
	require.Equal(t, []string{"fleet-backfleet-coordinator"}, selected(t, o, o.budgets[0].Spec.Selector))
	require.Equal(t, 1, o.budgets[0].Spec.MaxUnavailable.IntValue())
	require.Len(t, selected(t, o, &o.monitors[0].Spec.Selector), 2)
	require.Equal(t, "fleet-backfleet-worker", o.scalers[0].Spec.ScaleTargetRef.Name)
	for _, p := range o.policies {
		require.Equal(t, []string{p.Name}, selected(t, o, &p.Spec.PodSelector))
	}
	port := func(component string) string { return pods[component].Spec.Containers[0].Ports[0].Name }
	require.Equal(t, port("coordinator"), o.services[0].Spec.Ports[0].TargetPort.StrVal)
	for i, component := range []string{"coordinator", "worker"} {
		require.Equal(t, port(component), *o.monitors[0].Spec.PodMetricsEndpoints[i].Port)
		for _, probe := range []*corev1.Probe{
			pods[component].Spec.Containers[0].LivenessProbe, pods[component].Spec.Containers[0].ReadinessProbe, pods[component].Spec.Containers[0].StartupProbe,
		} {
			require.Equal(t, port(component), probe.HTTPGet.Port.StrVal)
		}
		for _, rule := range o.policies[i].Spec.Ingress {
			require.Equal(t, port(component), rule.Ports[0].Port.StrVal)
		}
	}
}

// selected names the deployments whose pods a selector takes.
func selected(t *testing.T, o *objects, s *metav1.LabelSelector) (names []string) {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	require.NoError(t, err)
	for _, d := range o.deployments {
		if selector.Matches(labels.Set(d.Spec.Template.Labels)) {
			names = append(names, d.Name)
		}
	}
	return names
}

// Pod Security "restricted", and a little more.
func TestPodsAreRestricted(t *testing.T) {
	for name, text := range shapes {
		for _, d := range rendered(t, text).deployments {
			t.Run(name+"/"+d.Name, func(t *testing.T) {
				pod := d.Spec.Template.Spec
				require.False(t, *pod.AutomountServiceAccountToken)
				require.True(t, *pod.SecurityContext.RunAsNonRoot)
				require.EqualValues(t, 65532, *pod.SecurityContext.RunAsUser)
				require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
				require.False(t, pod.HostNetwork || pod.HostPID || pod.HostIPC)
				for _, v := range pod.Volumes {
					require.Nil(t, v.HostPath, v.Name)
				}
				c := pod.Containers[0].SecurityContext
				require.False(t, *c.AllowPrivilegeEscalation)
				require.True(t, *c.ReadOnlyRootFilesystem)
				require.Equal(t, []corev1.Capability{"ALL"}, c.Capabilities.Drop)
				for _, e := range pod.Containers[0].Env {
					require.Nil(t, e.ValueFrom, "a secret in the environment: %s", e.Name)
				}
			})
		}
	}
}

func TestWhatAPodIsGiven(t *testing.T) {
	o := rendered(t, everything)
	env := func(d appsv1.Deployment) map[string]string {
		all := map[string]string{}
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			all[e.Name] = e.Value
		}
		return all
	}
	coordinator, worker := o.deployments[0], o.deployments[1]
	require.EqualValues(t, 3, *coordinator.Spec.Replicas)
	require.Nil(t, worker.Spec.Replicas, "KEDA's to say")
	require.EqualValues(t, 240, *worker.Spec.Template.Spec.TerminationGracePeriodSeconds)
	require.Equal(t, map[string]string{
		"BACKFLEET_DATABASE_MAIN_FILE": "/etc/backfleet/databases/main", "BACKFLEET_DATABASE_EU_2_FILE": "/etc/backfleet/databases/eu-2",
		"BACKFLEET_REPLICA_MAIN__STANDBY1_FILE": "/etc/backfleet/databases/main.standby1",
		"BACKFLEET_NATS_URL":                    "tls://nats-0:4222,tls://nats-1:4222", "BACKFLEET_NATS_CREDS": "/etc/backfleet/nats/creds",
		"BACKFLEET_NATS_TLS_CA": "/etc/backfleet/nats/ca.crt", "GOMAXPROCS": "2",
	}, env(coordinator))
	require.NotContains(t, env(worker), "BACKFLEET_REPLICA_MAIN__STANDBY1_FILE", "only the governor asks replicas")

	// Every file that an environment or an argument names is mounted, and from the Secret that was named.
	for _, d := range o.deployments {
		secrets := map[string]string{} // by path
		pod := d.Spec.Template.Spec
		for _, m := range pod.Containers[0].VolumeMounts {
			for _, v := range pod.Volumes {
				switch {
				case v.Name != m.Name:
				case v.Projected != nil:
					for _, s := range v.Projected.Sources {
						secrets[m.MountPath+"/"+s.Secret.Items[0].Path] = s.Secret.Name + ":" + s.Secret.Items[0].Key
					}
				case v.Secret != nil && len(v.Secret.Items) > 0:
					secrets[m.MountPath+"/"+v.Secret.Items[0].Path] = v.Secret.SecretName + ":" + v.Secret.Items[0].Key
				case v.Secret != nil:
					secrets[m.MountPath] = v.Secret.SecretName
				}
			}
		}
		want := map[string]string{
			"/etc/backfleet/databases/main": "main:dsn", "/etc/backfleet/databases/eu-2": "eu:DSN", "/etc/backfleet/postgres": "postgres-ca",
			"/etc/backfleet/nats/creds": "nats-worker:worker.creds", "/etc/backfleet/nats/ca.crt": "nats-ca:ca.crt",
		}
		if d.Name == coordinator.Name {
			want["/etc/backfleet/databases/main.standby1"] = "main-standby1:dsn"
			want["/etc/backfleet/nats/creds"] = "nats-coordinator:nats.creds"
			want["/etc/backfleet/api/tokens"] = "tokens:tokens"
			want["/etc/backfleet/tls"] = "api-tls"
		}
		require.Equal(t, want, secrets, d.Name)
	}
	require.Equal(t, corev1.URISchemeHTTPS, coordinator.Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet.Scheme)
	require.Equal(t, "https", o.monitors[0].Spec.PodMetricsEndpoints[0].Scheme.String())

	plain := rendered(t, "")
	require.EqualValues(t, 2, *plain.deployments[0].Spec.Replicas)
	require.Equal(t, corev1.URISchemeHTTP, plain.deployments[0].Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet.Scheme)
}

// The arguments are ones that the command of this commit knows: it gets as far as the database, which is not there.
func TestTheCommandKnowsTheArguments(t *testing.T) {
	for _, d := range rendered(t, everything).deployments {
		args := d.Spec.Template.Spec.Containers[0].Args
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "go", append([]string{"run", "./cmd/backfleet"}, append(slices.Clone(args), "--help")...)...)
		cmd.Dir = "../../.."
		help, err := cmd.CombinedOutput()
		require.NoError(t, err, string(help))
		for _, a := range args[1:] {
			flag, _, _ := strings.Cut(a, "=")
			require.Regexp(t, regexp.MustCompile(`(?m)^ .*`+flag+`\b`), string(help))
		}
	}
}

func TestScalingIsByWhatIsWanted(t *testing.T) {
	so := rendered(t, everything).scalers[0].Spec
	require.Len(t, so.Triggers, 1, "beside it, any other would count where it is the greater")
	require.Equal(t, "prometheus", so.Triggers[0].Type)
	require.Equal(t, "AverageValue", so.Triggers[0].MetricType)
	require.Equal(t, "8", so.Triggers[0].Metadata["threshold"], "a worker's slots")
	require.Equal(t, `sum(max by (database) (max_over_time(backfleet_wanted_slots{namespace="backfill",cluster="eu1"}[1m])))`, so.Triggers[0].Metadata["query"])
	require.Equal(t, "0", so.Triggers[0].Metadata["activationThreshold"])
	require.Equal(t, 64, so.MaxReplicaCount)
	require.Contains(t, rendered(t, "autoscaling: {enabled: true}").scalers[0].Spec.Triggers[0].Metadata["query"], `{namespace="backfill"}[1m]`)

	// The trigger by lag that the README shows is one that KEDA takes.
	readme, err := os.ReadFile(dir + "/README.md")
	require.NoError(t, err)
	_, block, ok := strings.Cut(string(readme), "```yaml\n")
	require.True(t, ok)
	block, _, _ = strings.Cut(block, "```")
	shown := &objects{}
	shown.decode(t, block)
	require.Equal(t, "nats-jetstream", shown.scalers[0].Spec.Triggers[0].Type)
	require.Equal(t, "fleet-backfleet-worker", shown.scalers[0].Spec.ScaleTargetRef.Name)
	require.Equal(t, "BACKFLEET", shown.scalers[0].Spec.Triggers[0].Metadata["stream"])
}

func TestWrongValuesAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		"worker: {slot: 4}":                                       "slot",
		"worker: {slots: 0}":                                      "/worker/slots",
		"worker: {terminationGracePeriodSeconds: 5}":              "/worker/terminationGracePeriodSeconds",
		"coordinator: {replicas: 0}":                              "/coordinator/replicas",
		"coordinator: {replicas: two}":                            "/coordinator/replicas",
		"databases: {Main: {secret: s, key: dsn}}":                "Main",
		"databases: {main: {dsn: 'postgres://u:secret@h/d'}}":     "dsn",
		"nats: {url: 'nats.internal:4222'}":                       "/nats/url",
		"networkPolicy: {databaseCIDRs: [db.internal]}":           "/networkPolicy/databaseCIDRs",
		"image: {pullPolicy: Sometimes}":                          "/image/pullPolicy",
		"autoscaling: {prometheus: {serverAddress: 'prom:9090'}}": "/autoscaling/prometheus/serverAddress",
		"autoscaling: {enabled: 'yes'}":                           "/autoscaling/enabled",
		"autoscalling: {enabled: true}":                           "autoscalling",
		"podMonitor: {interval: 15}":                              "/podMonitor/interval",
		"coordinator: {tls: {secret: 'Not A Name'}}":              "/coordinator/tls/secret",
		"networkPolicy: {natsPorts: [70000]}":                     "/networkPolicy/natsPorts",
	} {
		_, err := render(text, t)
		require.ErrorContains(t, err, says, text)
	}
}
