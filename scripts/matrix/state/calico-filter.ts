import { tableLines } from './nat.ts';
import type { ServiceLoop } from './types.ts';

const RULE = /^-A cali-cidr-block (?=.*-d (\S+) ).*-j (DROP|REJECT)/;

/**
 * Finds in `iptables-save -t filter` what Calico's felix does with packets for service addresses that nobody has
 * translated, so that they do not go round between node and router (serviceLoopPrevention; felix/rules/static.go and
 * nat.go). Only where something jumps there. Throws where the text is no filter table.
 */
export function parseServiceLoop(text: string): ServiceLoop | undefined {
  const lines = tableLines(text, 'filter', () => {});
  const jump = (from: string, to: string) => findJump(lines, from, to);
  const calico = jump('FORWARD', 'cali-FORWARD');
  if (calico < 0 || jump('cali-FORWARD', 'cali-cidr-block') < 0) return undefined;
  const rules = lines.flatMap((line) => {
    const [, prefix, action] = RULE.exec(line) ?? [];
    return prefix === undefined || action === undefined ? [] : [{ prefix, action }];
  });
  const [first] = rules;
  if (first === undefined) return undefined;
  const kubeProxy = jump('FORWARD', 'KUBE-SERVICES|KUBE-EXTERNAL-SERVICES');
  return {
    action: first.action === 'DROP' ? 'drop' : 'reject',
    prefixes: rules.map(({ prefix }) => prefix),
    isFirst: kubeProxy < 0 || calico < kubeProxy,
  };
}

const TO_HOST = /^-A cali-wl-to-host .*DefaultEndpointToHostAction.* -j (ACCEPT|DROP|REJECT)/;

/**
 * Finds in `iptables-save -t filter` what felix does with packets of the node's pods for the node itself
 * (defaultEndpointToHostAction; felix/rules/endpoints.go), where that comes before kube-proxy's rules: ACCEPT ends the
 * chain, so these never see the packet. Throws where the text is no filter table.
 */
export function parsePodsToHost(text: string): 'accept' | 'drop' | undefined {
  const lines = tableLines(text, 'filter', () => {});
  const calico = findJump(lines, 'INPUT', 'cali-INPUT');
  const kubeProxy = findJump(lines, 'INPUT', 'KUBE-EXTERNAL-SERVICES|KUBE-FIREWALL');
  const isFirst = calico >= 0 && (kubeProxy < 0 || calico < kubeProxy);
  if (!isFirst || findJump(lines, 'cali-INPUT', 'cali-wl-to-host') < 0) return undefined;
  const action = lines.flatMap((line) => TO_HOST.exec(line)?.[1] ?? [])[0];
  return action === undefined ? undefined : action === 'ACCEPT' ? 'accept' : 'drop';
}

/** The number of the line that jumps there; -1 where none does. */
function findJump(lines: readonly string[], from: string, to: string): number {
  return lines.findIndex((line) => new RegExp(`^-A ${from} (.* )?-[jg] (${to})$`).test(line));
}
