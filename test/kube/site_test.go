package kube

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	postgresIP = "10.96.0.20" // of testdata/servers.yaml
	apiToken   = "the administrator's"
)

// fleetValues are what a user says of the site below.
const fleetValues = `
image: {repository: backfleet-test/backfleet, tag: latest}
databases: {main: {secret: main, key: dsn}}
nats: {url: "nats://10.96.0.42:4222"}
coordinator: {apiTokens: {secret: tokens}}
worker: {replicas: 2, slots: 2}
`

// site is a namespace with the fleet's Secrets, and a PostgreSQL and a NATS in another. A table t with a counter a row is in its database.
type site struct {
	*helm
	pods *pods
	db   *pgx.Conn
	rows int
}

func newSite(t *testing.T, name string, rows int) *site {
	t.Helper()
	servers := name + "-servers"
	kube.namespace(t, servers, nil)
	kube.applyFile(t, servers, "testdata/servers.yaml")
	s := &site{helm: newHelm(t, name), rows: rows}
	s.pods = watchPods(t, name)
	kube.until(t, "PostgreSQL and NATS are ready", func(ctx context.Context) error { return ready(ctx, servers, "app in (postgres, nats)", 2) })
	superuser := "postgres://postgres@" + postgresIP + "/postgres"
	kube.until(t, "PostgreSQL is reached by its Service", func(ctx context.Context) (err error) {
		s.db, err = pgx.Connect(ctx, superuser)
		return err
	})
	t.Cleanup(func() { _ = s.db.Close(context.Background()) })
	s.sql(`CREATE ROLE backfleet LOGIN; GRANT pg_monitor TO backfleet`,
		fmt.Sprintf(`CREATE TABLE t AS SELECT id, 0 AS n FROM generate_series(1, %d) id`, rows), `ALTER TABLE t ADD PRIMARY KEY (id)`, `VACUUM ANALYZE t`,
		`CREATE TABLE pace AS SELECT 0.005::float8 AS seconds`, `GRANT SELECT ON pace TO backfleet`)
	s.backfleet("db", "init", "main")
	s.sql(s.backfleet("db", "grants", "main", "--role", "backfleet", "--table", "public.t"))
	for secret, data := range map[string]map[string]string{
		"main":   {"dsn": "postgres://backfleet@" + postgresIP + "/postgres"},
		"tokens": {"tokens": fmt.Sprintf("admin test %x\n", sha256.Sum256([]byte(apiToken)))},
	} {
		_, err := kube.client.CoreV1().Secrets(name).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secret}, StringData: data}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	return s
}

// namespace makes one that is deleted, with all that is in it, when the test ends.
func (c *cluster) namespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	namespaces := c.client.CoreV1().Namespaces()
	_, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, namespaces.Delete(context.Background(), name, metav1.DeleteOptions{}))
		c.until(t, "namespace "+name+" is gone", func(ctx context.Context) error {
			if _, err := namespaces.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is still there: %w", err)
			}
			return nil
		})
	})
}

// ready says why there are not so many pods that are ready, and no others.
func ready(ctx context.Context, namespace, selector string, want int) error {
	found, err := kube.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return err
	}
	have := 0
	var others []string
	for _, pod := range found.Items {
		if isReady(&pod) {
			have++
			continue
		}
		status, _ := json.Marshal(pod.Status.ContainerStatuses)
		others = append(others, fmt.Sprintf("%s is %s: %s", pod.Name, pod.Status.Phase, status))
	}
	if have != want || len(others) > 0 {
		return fmt.Errorf("%d of %d are ready, and not: %v", have, want, others)
	}
	return nil
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return pod.DeletionTimestamp == nil
		}
	}
	return false
}

// component selects the pods of a part of the fleet.
func component(name string) string {
	return "app.kubernetes.io/instance=fleet,app.kubernetes.io/component=" + name
}

// untilReady waits until so many pods of a component are ready, and no other is there.
func (s *site) untilReady(name string, want int) time.Duration {
	s.Helper()
	return kube.until(s.T, fmt.Sprintf("%d pods of the %s are ready", want, name), func(ctx context.Context) error {
		return ready(ctx, s.namespace, component(name), want)
	})
}

// list are the pods of a component.
func (s *site) list(name string) []corev1.Pod {
	s.Helper()
	found, err := kube.client.CoreV1().Pods(s.namespace).List(s.Context(), metav1.ListOptions{LabelSelector: component(name)})
	require.NoError(s, err)
	return found.Items
}

// deletePod is `kubectl delete pod`; it waits until it is gone, and returns how long that took.
func (s *site) deletePod(name string) time.Duration {
	s.Helper()
	pods := kube.client.CoreV1().Pods(s.namespace)
	require.NoError(s, pods.Delete(s.Context(), name, metav1.DeleteOptions{}))
	return kube.until(s.T, "pod "+name+" is gone", func(ctx context.Context) error {
		if _, err := pods.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %w", err)
		}
		return nil
	})
}

func (s *site) sql(statements ...string) {
	s.Helper()
	for _, statement := range statements {
		_, err := s.db.Exec(s.Context(), statement)
		require.NoError(s, err, statement)
	}
}

// one is the only value that a query returns.
func one[T any](s *site, query string) (value T) {
	s.Helper()
	require.NoError(s, s.db.QueryRow(s.Context(), query).Scan(&value), query)
	return value
}

// backfleet runs a command of this machine's program: of the ledger as the superuser, all others through the API of the chart's Service.
func (s *site) backfleet(args ...string) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(kube.built, "backfleet"), args...)
	cmd.Env = append(os.Environ(), "BACKFLEET_DATABASE_MAIN=postgres://postgres@"+postgresIP+"/postgres")
	if args[0] != "db" {
		service, err := kube.client.CoreV1().Services(s.namespace).Get(ctx, "fleet-backfleet-coordinator", metav1.GetOptions{})
		require.NoError(s, err)
		cmd.Env = append(os.Environ(), "BACKFLEET_API=http://"+service.Spec.ClusterIP+":8080", "BACKFLEET_API_TOKEN="+apiToken)
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && args[0] == "status" {
		err = nil // its code tells the job's state
	}
	require.NoError(s, err, "backfleet %s: %s%s", strings.Join(args, " "), stdout.String(), stderr.String())
	return stdout.String()
}

type status struct {
	State  string
	Reason string
	Rows   int64 `json:"rows_written"`
}

func (s *site) status(job string) (st status) {
	s.Helper()
	require.NoError(s, json.Unmarshal([]byte(s.backfleet("status", job, "-o", "json")), &st))
	return st
}

// submit submits a job that adds 1 to each row's counter: twice would show. It takes as long for a row as the table pace says, so that a
// test sees all that it wants to see in mid-run.
func (s *site) submit(name, more string) {
	s.Helper()
	file := filepath.Join(s.TempDir(), name+".yaml")
	text := "name: " + name + "\ndatabase: main\ntable: public.t\nset: {n: n + 1 + (pg_sleep((SELECT seconds FROM public.pace)) IS NULL)::int}\ncheck: n = 1\nlate_rows: ignore\n" + more
	require.NoError(s, os.WriteFile(file, []byte(text), 0o600))
	s.backfleet("submit", file)
}

// hurry ends what makes the job slow.
func (s *site) hurry() {
	s.Helper()
	s.sql(`UPDATE pace SET seconds = 0`)
}

// proven waits until a job is complete, and looks at every row and at the report.
func (s *site) proven(job string) {
	s.Helper()
	took := kube.until(s.T, "job "+job+" is complete", func(context.Context) error {
		st := s.status(job)
		require.Contains(s, []string{"planning", "running", "verifying", "complete"}, st.State, st.Reason)
		if st.State != "complete" {
			return fmt.Errorf("it is %s with %d rows", st.State, st.Rows)
		}
		return nil
	})
	require.Zero(s, one[int](s, `SELECT count(*) FROM t WHERE n <> 1`), "each row was done exactly once")
	var report struct {
		Verified bool
		Rows     int `json:"rows_written"`
		Workers  []struct{ Worker string }
	}
	require.NoError(s, json.Unmarshal([]byte(s.backfleet("report", job, "-o", "json")), &report))
	require.True(s, report.Verified)
	require.Equal(s, s.rows, report.Rows)
	s.Logf("complete and verified %s later; %d pods carried ranges", took.Round(time.Second), len(report.Workers))
}
