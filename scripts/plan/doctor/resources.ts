import { type DiskFact, type HostFacts, nameOf } from '../host-facts.ts';
import type { HostProblem } from '../host-problem.ts';
import type { LabPlan } from '../types.ts';
import { type HostFinding, hostFault, hostWarning, skipped, unseen } from './check.ts';
import { gib, hostNeeds } from './needs.ts';

/** Whether the machines that are still to be made fit in memory. */
export function judgeMemory(plan: LabPlan, facts: HostFacts): HostFinding {
  const { memoryBytes: needed } = hostNeeds(plan, facts);
  if (facts.unseen.memory !== undefined) {
    return unseen('memory', facts.unseen.memory, `see to it that ${gib(needed)} are free`);
  }
  const found = `${gib(facts.freeMemoryBytes)} are available; ${gib(needed)} are needed`;
  if (facts.freeMemoryBytes >= needed) return { found };
  const message = `too little memory: ${found}`;
  return { found, problems: [hostFault(message, 'stop other programs, or use fewer workers or clients')] };
}

/** Whether state, cache and machines fit on their disks; what lies on one disk shares its room. */
export function judgeDisk(plan: LabPlan, facts: HostFacts): HostFinding {
  if (facts.unseen.disk !== undefined) {
    return unseen('disk', facts.unseen.disk, 'see to it that there is room: df -h');
  }
  const { diskBytes } = hostNeeds(plan, facts);
  const disks = [...new Set(facts.disks.map(({ device }) => device))].map((device) => {
    const parts = facts.disks.filter((disk) => disk.device === device);
    const needed = parts.reduce((sum, { use }) => sum + diskBytes[use], 0);
    return { parts, needed, free: Math.min(...parts.map(({ freeBytes }) => freeBytes)) };
  });
  const shown = disks.map(({ parts, needed, free }) => {
    const uses = parts.map(({ use }) => use).join(', ');
    return `${gib(free)} free for ${uses}; ${needed < 2 ** 26 ? 'almost nothing' : gib(needed)} needed`;
  });
  return { found: shown.join(' · '), problems: disks.flatMap(diskProblems) };
}

interface Disk {
  readonly parts: readonly DiskFact[];
  readonly needed: number;
  readonly free: number;
}

function diskProblems({ parts, needed, free }: Disk): HostProblem[] {
  if (free >= needed) return [];
  const paths = [...new Set(parts.map(({ path }) => path))];
  const message = `${paths.join(' and ')} ${paths.length > 1 ? 'have' : 'has'} ${gib(free)} free; ${gib(needed)} are needed`;
  return [hostFault(`too little disk: ${message}`, `free ${gib(needed - free)} there`)];
}

/** Whether the package mirror answers, where something must come from it. */
export function judgeMirror({ choices }: LabPlan, facts: HostFacts): HostFinding {
  const { missingArtifacts, missingPackages, networkReachable } = facts;
  const [wanted, must] =
    missingArtifacts.length > 0
      ? [missingArtifacts, choices.artifacts.value === 'online' ? 'fetched or built' : 'built']
      : [missingPackages.map(nameOf), 'installed'];
  if (wanted.length === 0) return skipped('nothing has to be built or installed');
  if (facts.unseen.mirror !== undefined) {
    return unseen('the package mirror', facts.unseen.mirror, 'apt-get update   (must work first)');
  }
  const found = `${networkReachable ? 'answers' : 'does not answer'}; to be ${must}: ${wanted.join(', ')}`;
  if (networkReachable) return { found };
  const [nobody, hint] =
    choices.artifacts.value === 'online'
      ? [
          'no internet: the publishers of these or the package mirror do not answer',
          'connect the host or set HTTPS_PROXY, or do without: npx labup --artifacts debian (or the folder of a bundle)',
        ]
      : [
          'no network: no package mirror answers',
          'connect the host, or check /etc/apt/sources.list and the proxy settings',
        ];
  return { found, problems: [hostFault(`${nobody}, and these must be ${must}: ${wanted.join(', ')}`, hint)] };
}

/** Whether the host's own programs are there; what is missing is installed by labup, once it is allowed to. */
export function judgePackages(_plan: LabPlan, facts: HostFacts): HostFinding {
  const { missingPackages, apt } = facts;
  if (missingPackages.length === 0) return { found: 'everything is installed' };
  const names = missingPackages.map((need) => need.package).join(' ');
  const found = `missing: ${missingPackages.map((need) => `${nameOf(need)} (${need.for})`).join(', ')}`;
  if (apt) {
    const byHand = missingPackages.some(({ or }) => or !== undefined)
      ? "sudo apt-get update   (apt's lists were never fetched here), then npx lab doctor"
      : `sudo apt-get install --no-install-recommends ${names}`;
    const hint = `labup asks and installs; by hand: ${byHand}`;
    return { found, problems: [hostWarning(found, hint)] };
  }
  const hint = `install what Debian calls ${names} with this system's package manager`;
  return { found, problems: [hostFault(`${found}; and there is no apt-get here`, hint)] };
}
