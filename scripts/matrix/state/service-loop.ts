import type { ServiceLoop } from './types.ts';

const RULE = /^-A cali-cidr-block (?=.*-d (\S+) ).*-j (DROP|REJECT)/;

/**
 * Finds in `iptables-save -t filter` what Calico's felix does with packets for service addresses that nobody has
 * translated, so that they do not go round between node and router (serviceLoopPrevention; felix/rules/static.go and
 * nat.go). Only where something jumps there. Throws where the text is no filter table.
 */
export function parseServiceLoop(text: string): ServiceLoop | undefined {
  const lines = text.split('\n');
  if (text.trim() !== '' && !lines.includes('*filter')) throw new Error('not what iptables-save prints');
  const jump = (from: string, to: string) =>
    lines.findIndex((line) => new RegExp(`^-A ${from} (.* )?-[jg] (${to})$`).test(line));
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
