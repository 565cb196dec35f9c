package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A fleet that the chart installed does a job exactly once while its pods are deleted, scaled, evicted and upgraded.
func TestFleet(t *testing.T) {
	s := newSite(t, "fleet", 1_000_000)
	begun := time.Now()
	s.install(true, fleetValues)
	t.Logf("installed, and all pods ready, after %s", time.Since(begun).Round(100*time.Millisecond))
	s.untilReady("coordinator", 2)
	s.untilReady("worker", 2)
	s.confined()
	s.submit("count", "rows_per_range: 2000\n")
	s.advances("count")

	t.Run("the leader is deleted", func(t *testing.T) {
		s := s.in(t)
		old := s.leader()
		begun := time.Now()
		require.NoError(t, kube.client.CoreV1().Pods(s.namespace).Delete(t.Context(), old, metav1.DeleteOptions{}))
		kube.until(t, "another leads", func(context.Context) error {
			if s.leader() == old {
				return fmt.Errorf("%s still leads", old)
			}
			return nil
		})
		another := time.Since(begun)
		require.Less(t, another, 10*time.Second)
		s.untilReady("coordinator", 2)
		t.Logf("another leads after %s, two are ready again after %s", another.Round(100*time.Millisecond), time.Since(begun).Round(100*time.Millisecond))
		code, ended := s.pods.ended()[old]
		require.True(t, ended)
		require.Zero(t, code, "exit code")
		s.advances("count")
	})
	t.Run("a worker is deleted", func(t *testing.T) {
		s := s.in(t)
		name := s.carrier()
		gone := s.deletePod(name)
		s.leftWell(name)
		t.Logf("gone after %s, replaced %s later", gone.Round(100*time.Millisecond), s.untilReady("worker", 2).Round(100*time.Millisecond))
		s.advances("count")
	})
	t.Run("workers are scaled up and down", func(t *testing.T) {
		s := s.in(t)
		t.Logf("five are ready after %s", s.scale(5).Round(100*time.Millisecond))
		kube.until(t, "each of them has carried a range", func(context.Context) error {
			for _, pod := range s.list("worker") {
				if one[int](s, `SELECT count(*) FROM backfleet.ranges WHERE owner LIKE '`+pod.Name+`-%'`) == 0 {
					return fmt.Errorf("%s has not", pod.Name)
				}
			}
			return nil
		})
		before := s.list("worker")
		t.Logf("one is left after %s", s.scale(1).Round(100*time.Millisecond))
		left := s.list("worker")
		for _, pod := range before {
			if pod.Name != left[0].Name {
				s.leftWell(pod.Name)
			}
		}
		s.advances("count")
		s.scale(2)
	})
	t.Run("coordinators are evicted one at a time", func(t *testing.T) {
		s := s.in(t)
		both := s.list("coordinator")
		require.Len(t, both, 2)
		require.NoError(t, s.evict(both[0].Name))
		err := s.evict(both[1].Name)
		require.True(t, apierrors.IsTooManyRequests(err), "the second waits until the first is replaced: %v", err)
		t.Log(err)
		kube.until(t, "the second may go", func(context.Context) error { return s.evict(both[1].Name) })
		s.untilReady("coordinator", 2)
		require.NoError(t, s.evict(s.list("worker")[0].Name), "a worker may go at any time")
		s.untilReady("worker", 2)
		s.advances("count")
	})
	t.Run("the release is upgraded", func(t *testing.T) {
		s := s.in(t)
		before := s.list("worker")
		begun := time.Now()
		s.upgrade(fleetValues, `image: {repository: backfleet-test/backfleet, tag: next}`)
		t.Logf("upgraded after %s", time.Since(begun).Round(100*time.Millisecond))
		for _, pod := range slices.Concat(s.list("worker"), s.list("coordinator")) {
			if pod.DeletionTimestamp == nil {
				require.Equal(t, image+":next", pod.Spec.Containers[0].Image)
			}
		}
		for _, pod := range before {
			s.leftWell(pod.Name)
		}
		s.advances("count")
	})
	t.Run("a worker is killed", func(t *testing.T) {
		s := s.in(t)
		name := s.carrier()
		pods := kube.client.CoreV1().Pods(s.namespace)
		require.NoError(t, pods.Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
		t.Logf("another is there %s later", s.untilReady("worker", 2).Round(100*time.Millisecond))
		s.advances("count")
	})

	require.Equal(t, "running", s.status("count").State, "all of this happened in mid-run")
	s.hurry()
	s.proven("count")
	for name, code := range s.pods.ended() {
		if code != 0 {
			t.Logf("%s ended with %d", name, code)
		}
	}
	restarts := 0
	for _, pod := range slices.Concat(s.list("worker"), s.list("coordinator")) {
		restarts += int(pod.Status.ContainerStatuses[0].RestartCount)
	}
	require.Zero(t, restarts, "no probe restarted anybody")

	t.Logf("uninstalled after %s", s.uninstall().Round(100*time.Millisecond))
	s.nothingLeft()
}

// in is the site for a subtest.
func (s *site) in(t *testing.T) *site {
	sub, h := *s, *s.helm
	h.T, sub.helm = t, &h
	return &sub
}

// advances waits until a job has written rows from now on.
func (s *site) advances(job string) {
	s.Helper()
	from := s.status(job).Rows
	took := kube.until(s.T, "rows are written", func(context.Context) error {
		st := s.status(job)
		require.Contains(s, []string{"planning", "running"}, st.State, st.Reason)
		if st.Rows <= from {
			return fmt.Errorf("there are %d", st.Rows)
		}
		return nil
	})
	s.Logf("rows are written %s later", took.Round(100*time.Millisecond))
}

// leader is the pod that leads the database, and waits for one.
func (s *site) leader() (pod string) {
	s.Helper()
	kube.until(s.T, "somebody leads", func(ctx context.Context) error {
		return s.db.QueryRow(ctx, `SELECT regexp_replace(owner, '-[0-9]+-[0-9a-f]{8}$', '') FROM backfleet.leadership WHERE until > clock_timestamp()`).Scan(&pod)
	})
	return pod
}

// carrier is a worker that carries a range now, and waits for one.
func (s *site) carrier() (pod string) {
	s.Helper()
	kube.until(s.T, "somebody carries a range", func(ctx context.Context) error {
		return s.db.QueryRow(ctx, `SELECT regexp_replace(owner, '-[0-9]+-[0-9a-f]{8}$', '') FROM backfleet.ranges WHERE state = 'running' ORDER BY lease_until DESC LIMIT 1`).Scan(&pod)
	})
	return pod
}

// leftWell demands that a worker ended by itself, and that no lease of it ran out.
func (s *site) leftWell(pod string) {
	s.Helper()
	code, ended := s.pods.ended()[pod]
	require.True(s, ended, "the end of %s was seen", pod)
	require.Zero(s, code, "exit code of %s", pod)
	for _, coordinator := range s.list("coordinator") {
		for line := range strings.Lines(s.pods.said(coordinator.Name)) {
			require.False(s, strings.Contains(line, "lease ran out") && strings.Contains(line, pod), line)
		}
	}
}

// scale is `kubectl scale`; it waits until there are so many workers, and no others.
func (s *site) scale(replicas int32) time.Duration {
	s.Helper()
	begun := time.Now()
	deployments := kube.client.AppsV1().Deployments(s.namespace)
	scale, err := deployments.GetScale(s.Context(), "fleet-backfleet-worker", metav1.GetOptions{})
	require.NoError(s, err)
	scale.Spec.Replicas = replicas
	_, err = deployments.UpdateScale(s.Context(), "fleet-backfleet-worker", scale, metav1.UpdateOptions{})
	require.NoError(s, err)
	s.untilReady("worker", int(replicas))
	return time.Since(begun)
}

// evict is what `kubectl drain` does to a pod.
func (s *site) evict(pod string) error {
	return kube.client.PolicyV1().Evictions(s.namespace).Evict(s.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: s.namespace}})
}

// confined demands that the kernel holds every process of the fleet to what the chart says.
func (s *site) confined() {
	s.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/status")
	require.NoError(s, err)
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(text), "Name:\tbackfleet\n") {
			continue
		}
		found++
		fields := map[string]string{}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			fields[name] = value
		}
		require.Equal(s, "65532\t65532\t65532\t65532", fields["Uid"])
		require.Equal(s, "65532\t65532\t65532\t65532", fields["Gid"])
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			require.Equal(s, "0000000000000000", fields[set], set)
		}
		require.Equal(s, "1", fields["NoNewPrivs"])
		require.Equal(s, "2", fields["Seccomp"], "a filter")
		mounts, err := os.ReadFile(filepath.Join(filepath.Dir(file), "mountinfo"))
		require.NoError(s, err)
		root := strings.SplitN(string(mounts), "\n", 2)[0]
		require.Regexp(s, ` / / ro,`, root)
		require.NotContains(s, string(mounts), "serviceaccount", "no token is in the pod")
		environ, err := os.ReadFile(filepath.Join(filepath.Dir(file), "environ"))
		require.NoError(s, err)
		require.NotContains(s, string(environ), "postgres://", "no DSN is in the environment")
		require.NotContains(s, string(environ), "FLEET_BACKFLEET", "no service links are")
	}
	require.Equal(s, 4, found, "processes of the fleet")
}

// nothingLeft demands that the namespace has what the user put there, and nothing else.
func (s *site) nothingLeft() {
	s.Helper()
	kube.until(s.T, "nothing is left", func(context.Context) error {
		left := slices.DeleteFunc(kube.names(s.T, s.namespace), func(name string) bool { return name == "Secret/main" || name == "Secret/tokens" })
		if len(left) > 0 {
			return fmt.Errorf("there are still %s", left)
		}
		return nil
	})
}
