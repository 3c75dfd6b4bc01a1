import { parse } from 'yaml';
import { z } from 'zod';
import { HarnessError, messageOf } from '../../shared/errors.ts';
import { parseJson, parseWith } from './cluster.ts';
import type { NodeState, ProxySettings } from './types.ts';

const configMap = z.object({ data: z.record(z.string(), z.string()) });

/** KubeProxyConfiguration, as far as it is read here; kubeadm writes empty values as '' or null. */
const configuration = z.looseObject({
  kind: z.literal('KubeProxyConfiguration'),
  mode: z.string().nullish(),
  clusterCIDR: z.string().nullish(),
  detectLocalMode: z.string().nullish(),
  nodePortAddresses: z.array(z.string()).nullish(),
  detectLocal: z
    .looseObject({ bridgeInterface: z.string().nullish(), interfaceNamePrefix: z.string().nullish() })
    .nullish(),
  iptables: z
    .looseObject({ masqueradeAll: z.boolean().nullish(), localhostNodePorts: z.boolean().nullish() })
    .nullish(),
  nftables: z.looseObject({ masqueradeAll: z.boolean().nullish() }).nullish(),
});

const DEFAULTS: ProxySettings = {
  mode: 'iptables',
  detectLocalMode: 'ClusterCIDR',
  nodePortAddresses: [],
  masqueradeAll: false,
  localhostNodePorts: true,
};

/**
 * kube-proxy's settings from `kubectl get configmap kube-proxy -n kube-system --ignore-not-found -o json` (kubeadm). k3s
 * has none: there kube-proxy is part of the server and of each agent, and is set by arguments: those of nodes that differ
 * are in `nodes`. Where neither is found the mode is unknown. Throws HarnessError where the text is not what kubectl prints.
 */
export function proxySettings(
  configMapJson: string,
  nodes: readonly NodeState[],
): { readonly proxy: ProxySettings; readonly nodes: readonly NodeState[] } {
  if (configMapJson.trim() !== '') return { proxy: fromConfigMap(configMapJson), nodes };
  const clusterCidr = nodes.map((node) => k3sOptions(node)?.('cluster-cidr').at(-1)).find(Boolean);
  const known = nodes.flatMap((node) => {
    const option = k3sOptions(node);
    return option === undefined ? [] : [{ node, settings: fromK3s(option, clusterCidr) }];
  });
  const [first] = known;
  if (first === undefined) {
    const problem = 'there is no ConfigMap kube-system/kube-proxy, so how kube-proxy is set up is not known';
    return { proxy: { ...DEFAULTS, mode: 'unknown', problem }, nodes };
  }
  const proxy = first.settings;
  const isOther = (settings: ProxySettings) => JSON.stringify(settings) !== JSON.stringify(proxy);
  const others = new Map(
    known.filter(({ settings }) => isOther(settings)).map(({ node, settings }) => [node, settings]),
  );
  return {
    proxy,
    nodes: nodes.map((node) => {
      const own = others.get(node);
      return own === undefined ? node : { ...node, proxy: own };
    }),
  };
}

function fromConfigMap(text: string): ProxySettings {
  const { data } = parseWith(configMap, 'ConfigMap kube-proxy', parseJson(text));
  const document = Object.values(data).find((each) => each.includes('kind: KubeProxyConfiguration'));
  if (document === undefined)
    return {
      ...DEFAULTS,
      mode: 'unknown',
      problem: 'the ConfigMap kube-system/kube-proxy holds no KubeProxyConfiguration',
    };
  const config = parseWith(configuration, 'KubeProxyConfiguration', parseYaml(document));
  // '' is the default of Linux, which is iptables up to and including 1.37.
  const mode = config.mode || DEFAULTS.mode;
  const { bridgeInterface, interfaceNamePrefix } = config.detectLocal ?? {};
  const podInterface = config.detectLocalMode === 'BridgeInterface' ? bridgeInterface : interfaceNamePrefix;
  return {
    mode,
    ...(config.clusterCIDR ? { clusterCidr: config.clusterCIDR } : {}),
    detectLocalMode: config.detectLocalMode || DEFAULTS.detectLocalMode,
    ...(podInterface ? { podInterface } : {}),
    nodePortAddresses: config.nodePortAddresses ?? [],
    masqueradeAll: (mode === 'nftables' ? config.nftables : config.iptables)?.masqueradeAll ?? false,
    localhostNodePorts: config.iptables?.localhostNodePorts ?? true,
  };
}

type Options = (name: string) => readonly string[];

/** What k3s on a node was started with; undefined without k3s. */
function k3sOptions({ k3sArguments }: NodeState): Options | undefined {
  if (k3sArguments === undefined) return undefined;
  const given = optionsOf(k3sArguments);
  return (name) => given.filter(([option]) => option === name).map(([, value]) => value);
}

/** https://docs.k3s.io/cli/server: --cluster-cidr (default 10.42.0.0/16, of servers only) and --kube-proxy-arg NAME=VALUE. */
function fromK3s(option: Options, clusterCidr = '10.42.0.0/16'): ProxySettings {
  const proxy = new Map(option('kube-proxy-arg').map((value) => pairOf(value.replace(/^--/, ''))));
  // A switch without a value is on.
  const isOn = (name: string, byDefault: boolean) =>
    proxy.has(name) ? !['false', '0'].includes(proxy.get(name) ?? '') : byDefault;
  const detectLocalMode = proxy.get('detect-local-mode') ?? DEFAULTS.detectLocalMode;
  const podInterface = proxy.get(
    detectLocalMode === 'BridgeInterface' ? 'pod-bridge-interface' : 'pod-interface-name-prefix',
  );
  const file = proxy.get('config');
  const isOff = option('disable-kube-proxy').some((value) => value !== 'false');
  const problem = isOff
    ? 'k3s was started with --disable-kube-proxy, and what translates services instead is not modelled'
    : file === undefined
      ? undefined
      : `k3s takes kube-proxy's settings from ${file} (--kube-proxy-arg config=), which is not read`;
  return {
    ...DEFAULTS,
    mode: problem === undefined ? (proxy.get('proxy-mode') ?? DEFAULTS.mode) : 'unknown',
    ...(problem === undefined ? {} : { problem }),
    clusterCidr: proxy.get('cluster-cidr') ?? clusterCidr,
    detectLocalMode,
    ...(podInterface ? { podInterface } : {}),
    nodePortAddresses: proxy.get('nodeport-addresses')?.split(',') ?? [],
    masqueradeAll: isOn('masquerade-all', false),
    localhostNodePorts: isOn('iptables-localhost-nodeports', true),
  };
}

/** Both `--name value` and `--name=value`. */
function optionsOf(words: readonly string[]): readonly (readonly [string, string])[] {
  return words.flatMap((word, index): (readonly [string, string])[] => {
    if (!word.startsWith('--')) return [];
    const option = word.slice(2);
    if (option.includes('=')) return [pairOf(option)];
    const next = words[index + 1] ?? '';
    return [[option, next.startsWith('--') && option !== 'kube-proxy-arg' ? '' : next]];
  });
}

/** "NAME=VALUE". */
function pairOf(text: string): readonly [string, string] {
  const index = text.indexOf('=');
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)];
}

function parseYaml(text: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw new HarnessError('The ConfigMap kube-system/kube-proxy holds no valid YAML.', {
      details: [messageOf(cause)],
      cause,
    });
  }
}
