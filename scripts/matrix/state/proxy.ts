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
  iptables: z
    .looseObject({ masqueradeAll: z.boolean().nullish(), localhostNodePorts: z.boolean().nullish() })
    .nullish(),
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
 * has none: there kube-proxy is part of the agent and is set by arguments. Where neither is found the mode is unknown.
 * Throws HarnessError where the text is not what kubectl prints.
 */
export function proxySettings(configMapJson: string, nodes: readonly NodeState[]): ProxySettings {
  if (configMapJson.trim() !== '') return fromConfigMap(configMapJson);
  const k3s = nodes.flatMap(({ k3sArguments }) => (k3sArguments === undefined ? [] : [k3sArguments]));
  if (k3s.length > 0) return fromK3s(k3s);
  return {
    ...DEFAULTS,
    mode: 'unknown',
    problem: 'there is no ConfigMap kube-system/kube-proxy, so how kube-proxy is set up is not known',
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
  return {
    // '' is the default of Linux, which is iptables up to and including 1.37.
    mode: config.mode || DEFAULTS.mode,
    ...(config.clusterCIDR ? { clusterCidr: config.clusterCIDR } : {}),
    detectLocalMode: config.detectLocalMode || DEFAULTS.detectLocalMode,
    nodePortAddresses: config.nodePortAddresses ?? [],
    masqueradeAll: config.iptables?.masqueradeAll ?? false,
    localhostNodePorts: config.iptables?.localhostNodePorts ?? true,
  };
}

/** https://docs.k3s.io/cli/server: --cluster-cidr (default 10.42.0.0/16) and --kube-proxy-arg NAME=VALUE. Not seen in the lab. */
function fromK3s(nodes: readonly (readonly string[])[]): ProxySettings {
  const given = nodes.flatMap(optionsOf);
  const last = (name: string) => given.filter(([option]) => option === name).at(-1)?.[1];
  const proxy = new Map(
    given
      .filter(([option]) => option === 'kube-proxy-arg')
      .map(([, value]) => splitAt(value.replace(/^--/, ''), '=')),
  );
  return {
    ...DEFAULTS,
    mode: proxy.get('proxy-mode') ?? DEFAULTS.mode,
    clusterCidr: last('cluster-cidr') ?? '10.42.0.0/16',
    detectLocalMode: proxy.get('detect-local-mode') ?? DEFAULTS.detectLocalMode,
    nodePortAddresses: proxy.get('nodeport-addresses')?.split(',') ?? [],
    masqueradeAll: proxy.get('masquerade-all') === 'true',
    localhostNodePorts: proxy.get('iptables-localhost-nodeports') !== 'false',
  };
}

/** Both `--name value` and `--name=value`. */
function optionsOf(words: readonly string[]): readonly (readonly [string, string])[] {
  return words.flatMap((word, index): (readonly [string, string])[] => {
    if (!word.startsWith('--')) return [];
    const option = word.slice(2);
    return [option.includes('=') ? splitAt(option, '=') : [option, words[index + 1] ?? '']];
  });
}

function splitAt(text: string, mark: string): readonly [string, string] {
  const index = text.indexOf(mark);
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
