import type { HostFacts } from './host-facts.ts';
import { gib, hostNeeds } from './host-needs.ts';
import { prefixOverlaps, resolverOverlaps, subnetOverlaps } from './host-overlaps.ts';
import { type HostProblem, isError } from './host-problem.ts';
import type { LabPlan } from './types.ts';

/** Everything about the host that collides with the plan, errors first. Pure. */
export function checkHost(plan: LabPlan, facts: HostFacts): HostProblem[] {
  const problems = [
    ...rootProblems(facts),
    ...bridgeProblems(plan, facts),
    ...subnetOverlaps(plan, facts),
    ...prefixOverlaps(plan, facts),
    ...resolverOverlaps(plan, facts),
    ...resourceProblems(plan, facts),
    ...networkProblems(facts),
  ];
  return [...problems.filter(isError), ...problems.filter((problem) => !isError(problem))];
}

function hostFault(message: string, hint: string): HostProblem {
  return { severity: 'error', subject: 'host', message, hint };
}

function rootProblems({ uid }: HostFacts): HostProblem[] {
  if (uid === 0) return [];
  return [
    hostFault(
      `user ${uid} is not root; bridges and system containers need it`,
      'run it as root, e.g. with sudo',
    ),
  ];
}

function bridgeProblems(plan: LabPlan, facts: HostFacts): HostProblem[] {
  const { bridge } = plan.network;
  if (!facts.links.includes(bridge) || facts.bridgeIsOurs) return [];
  const message = `the host already has an interface ${bridge}, which does not belong to this lab`;
  const hint = 'set network.bridge to another name, or run labdown for the lab it belongs to';
  return [{ severity: 'error', subject: 'network.bridge', message, hint }];
}

function resourceProblems(plan: LabPlan, facts: HostFacts): HostProblem[] {
  const needs = hostNeeds(plan, facts);
  const problems: HostProblem[] = [];
  if (facts.freeDiskBytes < needs.diskBytes) {
    const message = `${facts.diskPath} has ${gib(facts.freeDiskBytes)} free; ${gib(needs.diskBytes)} are needed`;
    problems.push(
      hostFault(`too little disk: ${message}`, `free ${gib(needs.diskBytes - facts.freeDiskBytes)} there`),
    );
  }
  if (facts.freeMemoryBytes < needs.memoryBytes) {
    const message = `${gib(facts.freeMemoryBytes)} are available; ${gib(needs.memoryBytes)} are needed`;
    problems.push(
      hostFault(`too little memory: ${message}`, 'stop other programs, or use fewer workers or clients'),
    );
  }
  return problems;
}

function networkProblems({ networkReachable, missingArtifacts }: HostFacts): HostProblem[] {
  if (networkReachable || missingArtifacts.length === 0) return [];
  const message = `no package mirror answers, and these must be built: ${missingArtifacts.join(', ')}`;
  return [
    hostFault(
      `no network: ${message}`,
      'connect the host, or check /etc/apt/sources.list and the proxy settings',
    ),
  ];
}
