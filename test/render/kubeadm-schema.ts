/**
 * The fields of current kubeadm's and its components' configuration that the lab writes, with their types, as strict
 * schemas: there is no current kubeadm here to ask. From kubernetes/kubernetes, cmd/kubeadm/app/apis/kubeadm/v1beta4/types.go,
 * staging/src/k8s.io/kubelet/config/v1beta1/types.go, staging/src/k8s.io/kube-proxy/config/v1alpha1/types.go.
 */
import { z } from 'zod';

const address = z.ipv4();
const duration = z.string().regex(/^(\d+h)?(\d+m)?(\d+s)?$/);
const endpoint = z.string().regex(/^[\d.]+:\d+$/);
const token = z.string().regex(/^[a-z0-9]{6}\.[a-z0-9]{16}$/);
const kubeadm = <K extends string>(kind: K) => ({
  apiVersion: z.literal('kubeadm.k8s.io/v1beta4'),
  kind: z.literal(kind),
});

/** Arg: a list, where v1beta3 and before had a map. Values are always text. */
const args = z.array(z.strictObject({ name: z.string().regex(/^[a-z][a-z-]+$/), value: z.string() }));
/** EnvVar: that of a container. */
const envs = z.array(z.strictObject({ name: z.string().regex(/^[A-Z]+$/), value: z.string() }));
const component = z.strictObject({ extraEnvs: envs, extraArgs: args });
const nodeRegistration = z.strictObject({
  name: z.string(),
  criSocket: z.string().startsWith('unix:///'),
  kubeletExtraArgs: args,
});

export const InitConfiguration = z.strictObject({
  ...kubeadm('InitConfiguration'),
  bootstrapTokens: z.array(z.strictObject({ token, ttl: duration })),
  localAPIEndpoint: z.strictObject({ advertiseAddress: address, bindPort: z.int() }),
  nodeRegistration,
});

export const ClusterConfiguration = z.strictObject({
  ...kubeadm('ClusterConfiguration'),
  clusterName: z.string(),
  kubernetesVersion: z.string().regex(/^v1\.\d+\.\d+$/),
  imageRepository: z.string(),
  controlPlaneEndpoint: endpoint,
  networking: z.strictObject({ podSubnet: z.cidrv4(), serviceSubnet: z.cidrv4(), dnsDomain: z.string() }),
  apiServer: z.strictObject({ certSANs: z.array(z.string()), extraEnvs: envs }),
  controllerManager: component,
  scheduler: component,
  etcd: z.strictObject({ local: z.strictObject({ dataDir: z.string(), extraEnvs: envs, extraArgs: args }) }),
});

export const JoinConfiguration = z.strictObject({
  ...kubeadm('JoinConfiguration'),
  discovery: z.strictObject({
    bootstrapToken: z.strictObject({
      apiServerEndpoint: endpoint,
      token,
      caCertHashes: z.array(z.string().regex(/^sha256:[0-9a-f]{64}$/)),
    }),
  }),
  nodeRegistration,
});

/** Every field may be left out; k3s' drop-in sets some of them. */
export const KubeletConfiguration = z
  .strictObject({
    clusterDNS: z.array(address),
    clusterDomain: z.string(),
    cgroupDriver: z.enum(['cgroupfs', 'systemd']),
    failSwapOn: z.boolean(),
    // Since 1.31.
    failCgroupV1: z.boolean(),
    // Since 1.25; the feature gate of the same name is gone.
    localStorageCapacityIsolation: z.boolean(),
    imageGCHighThresholdPercent: z.int().min(0).max(100),
    evictionHard: z.record(
      z.enum(['nodefs.available', 'nodefs.inodesFree', 'imagefs.available']),
      z.string(),
    ),
    maxPods: z.int(),
    resolvConf: z.string(),
    nodeStatusUpdateFrequency: duration,
    nodeLeaseDurationSeconds: z.int(),
  })
  .partial()
  .extend({
    apiVersion: z.literal('kubelet.config.k8s.io/v1beta1'),
    kind: z.literal('KubeletConfiguration'),
  });

export const KubeProxyConfiguration = z.strictObject({
  apiVersion: z.literal('kubeproxy.config.k8s.io/v1alpha1'),
  kind: z.literal('KubeProxyConfiguration'),
  mode: z.enum(['iptables', 'nftables', 'ipvs']),
  clusterCIDR: z.cidrv4(),
  conntrack: z.strictObject({
    maxPerCore: z.int(),
    min: z.int(),
    tcpEstablishedTimeout: duration,
    tcpCloseWaitTimeout: duration,
  }),
});
