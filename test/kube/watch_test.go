package kube

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pods sees what every pod of a namespace writes, and how its program ends.
type pods struct {
	mu   sync.Mutex
	logs map[string]*bytes.Buffer // by name
	ends map[string]int32         // exit codes
}

// watchPods watches until the test ends. On a failure it prints what they wrote last.
func watchPods(t *testing.T, namespace string) *pods {
	t.Helper()
	p := &pods{logs: map[string]*bytes.Buffer{}, ends: map[string]int32{}}
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	watch, err := kube.client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	following.Go(func() {
		for event := range watch.ResultChan() {
			if pod, is := event.Object.(*corev1.Pod); is {
				p.see(ctx, pod, &following)
			}
		}
	})
	t.Cleanup(func() {
		watch.Stop()
		cancel()
		following.Wait()
		if t.Failed() {
			t.Logf("exit codes: %v", p.ends)
			for name, log := range p.logs {
				t.Logf("%s:\n%s", name, last(log.Bytes(), 15))
			}
		}
	})
	return p
}

func (p *pods) see(ctx context.Context, pod *corev1.Pod, following *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, container := range pod.Status.ContainerStatuses {
		if container.State.Terminated != nil {
			p.ends[pod.Name] = container.State.Terminated.ExitCode
		}
		if container.State.Running != nil && p.logs[pod.Name] == nil {
			p.logs[pod.Name] = &bytes.Buffer{}
			following.Go(func() { p.follow(ctx, pod) })
		}
	}
}

func (p *pods) follow(ctx context.Context, pod *corev1.Pod) {
	log, err := kube.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		return
	}
	defer log.Close()
	for piece := make([]byte, 32<<10); ; {
		n, err := log.Read(piece)
		p.mu.Lock()
		p.logs[pod.Name].Write(piece[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// said is what a pod has written so far.
func (p *pods) said(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.logs[name] == nil {
		return ""
	}
	return p.logs[name].String()
}

// ended are the exit codes of the pods that have ended.
func (p *pods) ended() map[string]int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.ends)
}

// last are the last lines of a text.
func last(text []byte, n int) []byte {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], []byte("\n"))
}
