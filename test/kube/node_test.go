package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// cgroup is the group below which pods run, in every hierarchy of cgroups v1, or in v2's one. run.sh makes and removes it.
const cgroup = "/backfleet-kube"

// startNode starts containerd, loads the images, and starts the kubelet and kube-proxy.
func (c *cluster) startNode() error {
	socket := filepath.Join(c.dir, "containerd.sock")
	for name, text := range map[string]string{"containerd.toml": containerdConfig, "net.d/pods.conflist": podNetwork, "kubelet.yaml": kubeletConfig} {
		path := filepath.Join(c.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		text = strings.NewReplacer("@DIR@", c.dir, "@SOCKET@", socket, "@PODS@", podCIDR, "@CGROUP@", cgroup).Replace(text)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := c.run("containerd", "containerd", "--config="+filepath.Join(c.dir, "containerd.toml")); err != nil {
		return err
	}
	ctr := func(args ...string) error {
		if out, err := exec.Command("ctr", append([]string{"--address=" + socket, "--namespace=k8s.io"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ctr %s: %w: %s", args, err, out)
		}
		return nil
	}
	if err := c.await("containerd answers", func(context.Context) error { return ctr("version") }); err != nil {
		return err
	}
	if err := ctr("images", "import", filepath.Join(c.built, "images.tar")); err != nil {
		return err
	}
	// The same program by a second name, to upgrade to.
	if err := ctr("images", "tag", "docker.io/"+image+":latest", "docker.io/"+image+":next"); err != nil {
		return err
	}
	if err := c.start("kubelet", "--kubeconfig="+c.kubeconfig, "--config="+filepath.Join(c.dir, "kubelet.yaml"), "--root-dir="+filepath.Join(c.dir, "kubelet"),
		"--cert-dir="+filepath.Join(c.dir, "kubelet-pki"), "--hostname-override="+nodeName, "--node-ip="+nodeIP); err != nil {
		return err
	}
	return c.start("kube-proxy", "--kubeconfig="+c.kubeconfig, "--hostname-override="+nodeName, "--proxy-mode=nftables", "--cluster-cidr="+podCIDR,
		"--conntrack-max-per-core=0")
}

const containerdConfig = `
version = 2
root = "@DIR@/containerd"
state = "@DIR@/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "@SOCKET@"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/backfleet-test/kube:latest"
  disable_apparmor = true
  restrict_oom_score_adj = true # lowering it takes a capability that root may lack
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "@DIR@/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`

// Point to point: all that pods send each other passes this machine, where kube-proxy's rules see it.
const podNetwork = `{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {"type": "ptp", "ipam": {"type": "host-local", "dataDir": "@DIR@/ipam", "ranges": [[{"subnet": "@PODS@"}]], "routes": [{"dst": "0.0.0.0/0"}]}}
  ]
}
`

const kubeletConfig = `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://@SOCKET@
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: @CGROUP@
enforceNodeAllocatable: [pods]
podLogsDir: @DIR@/pods
volumePluginDir: @DIR@/plugins
failSwapOn: false
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: @DIR@/ca.crt}
authorization: {mode: AlwaysAllow}
`
