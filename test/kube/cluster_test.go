package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// The addresses of the cluster, in a network namespace of its own.
const (
	nodeName     = "node"
	nodeIP       = "192.0.2.1" // run.sh gives it to the namespace
	podCIDR      = "10.244.0.0/16"
	serviceCIDR  = "10.96.0.0/16"
	apiServiceIP = "10.96.0.1" // the first of them
	patience     = 3 * time.Minute
)

// cluster is a Kubernetes of one node.
type cluster struct {
	dir        string // of this run
	built      string // where run.sh puts what it builds
	kubeconfig string
	config     *rest.Config
	client     kubernetes.Interface
	dynamic    dynamic.Interface
	mapper     meta.ResettableRESTMapper
	processes  []*process
}

// process is a program of the node whose output goes to a file.
type process struct {
	name, log string
	cmd       *exec.Cmd
}

// startCluster starts the control plane and the node, and waits until the node is ready.
func startCluster(built, dir string) (*cluster, error) {
	c := &cluster{dir: dir, built: built, kubeconfig: filepath.Join(dir, "kubeconfig")}
	if err := writeCredentials(dir, c.kubeconfig); err != nil {
		return nil, err
	}
	if err := c.startControlPlane(); err != nil {
		return c, err
	}
	if err := c.startNode(); err != nil {
		return c, err
	}
	return c, c.await("the node is ready", func(ctx context.Context) error {
		n, err := c.client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range n.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions: %v", n.Status.Conditions)
	})
}

func (c *cluster) startControlPlane() (err error) {
	file := func(name string) string { return filepath.Join(c.dir, name) }
	if err := c.start("etcd", "--data-dir="+file("etcd"), "--unsafe-no-fsync", "--log-level=warn"); err != nil {
		return err
	}
	if err := c.start("kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address="+nodeIP, "--service-cluster-ip-range="+serviceCIDR, "--allow-privileged",
		"--authorization-mode=RBAC", "--client-ca-file="+file("ca.crt"),
		"--tls-cert-file="+file("apiserver.crt"), "--tls-private-key-file="+file("apiserver.key"),
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-client-certificate="+file("admin.crt"), "--kubelet-client-key="+file("admin.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+file("apiserver.key"), "--service-account-signing-key-file="+file("apiserver.key"),
		"--requestheader-client-ca-file="+file("ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file="+file("front-proxy.crt"), "--proxy-client-key-file="+file("front-proxy.key"),
	); err != nil {
		return err
	}
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.kubeconfig); err != nil {
		return err
	}
	c.config.QPS, c.config.Burst = 100, 200
	if c.client, err = kubernetes.NewForConfig(c.config); err != nil {
		return err
	}
	if c.dynamic, err = dynamic.NewForConfig(c.config); err != nil {
		return err
	}
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.client.Discovery()))
	if err := c.await("the API server is ready", func(ctx context.Context) error {
		return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}); err != nil {
		return err
	}
	if err := c.start("kube-controller-manager", "--kubeconfig="+c.kubeconfig, "--leader-elect=false",
		"--service-account-private-key-file="+file("apiserver.key"), "--root-ca-file="+file("ca.crt"),
		"--use-service-account-credentials", "--horizontal-pod-autoscaler-sync-period=5s"); err != nil {
		return err
	}
	return c.start("kube-scheduler", "--kubeconfig="+c.kubeconfig, "--leader-elect=false")
}

// start starts a component of Kubernetes.
func (c *cluster) start(component string, flags ...string) error {
	return c.run(component, filepath.Join(c.built, "node"), append([]string{component}, flags...)...)
}

// run starts a program. The end of the process namespace is its end too.
func (c *cluster) run(name, path string, args ...string) error {
	p := &process{name: name, log: filepath.Join(c.dir, name+".log"), cmd: exec.Command(path, args...)}
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.processes = append(c.processes, p)
	return nil
}

// await asks until there is no error any more, or until a process of the node has ended.
func (c *cluster) await(what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		for _, p := range c.processes {
			if ended(p.cmd.Process.Pid) {
				return fmt.Errorf("%s: %s has ended: see its log", what, p.name)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("within %s not yet: %s: %w", patience, what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ended says whether a child has ended, without waiting for it.
func ended(pid int) bool {
	var status syscall.WaitStatus
	got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	return err != nil || got == pid
}

// until is await for tests.
func (c *cluster) until(t *testing.T, what string, ask func(context.Context) error) time.Duration {
	t.Helper()
	begun := time.Now()
	require.NoError(t, c.await(what, ask))
	return time.Since(begun)
}
