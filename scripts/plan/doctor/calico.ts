import type { LabPlan } from '../types.ts';
import { type HostFinding, hostWarning, skipped } from './check.ts';

/**
 * The Kubernetes minors that each Calico minor is tested with, first and last, by
 * https://docs.tigera.io/calico/3.32/getting-started/kubernetes/requirements and the same page of 3.31 and 3.33 (2026-11).
 */
const TESTED: Readonly<Record<string, readonly [first: number, last: number]>> = {
  '3.31': [32, 35],
  '3.32': [34, 36],
  '3.33': [35, 37],
};

/** Whether Calico is tested with the Kubernetes of this lab. */
export function judgeCalico({ calico, kubernetes }: LabPlan): HostFinding {
  if (calico === undefined) return skipped('the CNI is another one');
  const found = `${calico.version} with Kubernetes ${kubernetes.version}`;
  const warning = calicoWarning(kubernetes.version, calico.version);
  if (warning === undefined) return { found };
  const hint = 'none needed if labtest passes; else another version of one of them';
  return { found, problems: [hostWarning(warning, hint)] };
}

/**
 * A warning where a pair of Kubernetes ("v1.36.3", "v1.36.3+k3s1") and Calico ("v3.32.1") is not one that Calico is
 * tested with, or where that is not known; undefined where it is.
 */
export function calicoWarning(kubernetesVersion: string, calicoVersion: string): string | undefined {
  const pair = `Calico ${calicoVersion} with Kubernetes ${kubernetesVersion}`;
  const minor = /^v?1\.(\d+)(\.|$)/.exec(kubernetesVersion)?.[1];
  const range = TESTED[/^v?(\d+\.\d+)(\.|$)/.exec(calicoVersion)?.[1] ?? ''];
  if (minor === undefined || range === undefined)
    return `Whether ${pair} was ever tested is unknown; it may work.`;
  const [first, last] = range;
  if (Number(minor) >= first && Number(minor) <= last) return undefined;
  return `${pair} is not tested by Calico, which tests it with Kubernetes 1.${first} to 1.${last}; it may work.`;
}
