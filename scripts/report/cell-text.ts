import { ruleText } from '../diagnostics/rules.ts';
import type { Difference, Finding, Gap, Proof, SeenRule } from '../matrix/findings.ts';
import type { CellResult, Evidence } from '../matrix/types.ts';
import { countText } from './causes.ts';

/** Why a cell's verdict is what it is; null for one that simply passed. */
export function describeFinding({ finding }: Pick<CellResult, 'finding'>): string | null {
  return finding === null ? null : findingText(finding);
}

function findingText(finding: Finding): string | null {
  switch (finding.reason) {
    case 'blocked':
      return `not tried: ${finding.by} failed`;
    case 'source-blocked':
      return `nothing could get through from ${finding.from}: ${finding.by} failed`;
    case 'name-blocked':
      return `its name did not resolve: ${finding.by} failed`;
    case 'not-modelled':
      return finding.what;
    case 'chance':
      return `${finding.what}, so one try would prove nothing`;
    case 'silent':
      return `what was sent came to ${finding.server}, which did not answer; whether the application would is not known`;
    case 'not-tracked':
      return 'it was answered, but no machine has the connection in its connection tracking, so by whom is not known';
    case 'wrong-status':
      return `GET / was answered with status ${finding.status ?? 'none'}, not ${finding.wanted}`;
    case 'aborted':
      return 'not tried: the run was aborted';
    case 'probe-failed':
    case 'other-outcome':
      return finding.said;
    case 'wrong-backend':
      return `answered by ${finding.server}, not by ${or(finding.wanted) || 'anyone'}`;
    case 'wrong-source':
      return `the server saw ${finding.client}, not ${or(finding.wanted) || 'anyone'}`;
    case 'got-through':
      return `it got through to ${finding.server}${finding.client === null ? '' : ` as ${finding.client}`}`;
    case 'second-try':
      return `first try: ${finding.outcome}${finding.said === null ? '' : `, ${finding.said}`}`;
    case 'no-control':
      return `nothing got through from ${finding.from} in this run, so a failure there proves nothing`;
    case 'unproven':
      return `it failed as expected, but ${gapText(finding.gap)}`;
    case 'received':
      return `nothing came back, but pod ${finding.pod} got what ${finding.from} sent, from ${finding.client}`;
    case 'received-often':
      return `it was received ${finding.times} times`;
    case 'other-server':
      return `the answer says that it comes from ${finding.server}, but what was sent is in the log of ${finding.logged} (pod ${finding.pod})`;
  }
}

function gapText(gap: Gap): string {
  switch (gap.reason) {
    case 'no-control':
      return `nothing got through from ${gap.from} in this run, so that proves nothing`;
    case 'logs-not-read':
      return `the servers' logs could not be read: ${gap.said}`;
    case 'nothing-answered':
      return "nothing was answered that the servers' logs could be tried with";
    case 'logs-incomplete':
      return `the servers' logs lack what ${gap.cell} sent, though it was answered: they cannot be searched`;
    case 'rules-not-read':
      return `the rules of ${gap.node} could not be read: ${gap.said}`;
    case 'no-rule':
      return `${gap.node} has no rule that stops it (${gap.predicted})`;
    case 'rules-rewritten':
      return `kube-proxy of ${gap.node} wrote its rules anew meanwhile, so their counters say nothing`;
    case 'counted-too-few':
      return `the rule that had to stop it (${gap.chain} on ${gap.node}, "${gap.comment}") matched ${gap.packets} of at least ${countText(gap.least, 'packet')} from ${countText(gap.cells, 'cell')}`;
  }
}

/** What proves that a connection failed where it had to. */
export function describeProof(proof: Proof): string {
  switch (proof.reason) {
    case 'control':
      return `${proof.cell}${proof.sameHost ? ', to the same host,' : ''} ${gotThrough(proof)} in the same run`;
    case 'not-in-logs':
      return `what it sent (${proof.nonce}) is in no server's log`;
    case 'counted':
      return `${proof.chain} on ${proof.node}, "${proof.comment}": the rule matched ${countText(proof.packets, 'packet')} from ${countText(proof.cells, 'cell')}`;
  }
}

function gotThrough({ refused, counted }: Extract<Proof, { reason: 'control' }>): string {
  if (counted) return 'was counted by the rule of another machine that stops it,';
  return refused ? 'was refused by another machine' : 'got through';
}

/** What was seen when a red cell was tried again: the first hop that differs, as one sentence. */
export function describeEvidence({ difference, chance }: Pick<Evidence, 'difference' | 'chance'>): string {
  const text = differenceText(difference);
  if (chance?.lost === 0)
    return `All of ${chance.tries} tries were answered: a kernel whose fib_multipath_hash_policy is 0 takes the same way for all of them, and by another way they would be lost.`;
  // A machine's name at its beginning stays as it is.
  const isName = !/^(the|nothing|nobody) /.test(text);
  const sentence = `${isName ? text : `${text.charAt(0).toUpperCase()}${text.slice(1)}`}.`;
  return chance === undefined
    ? sentence
    : `${chance.lost} of ${chance.tries} tries were not answered. One of them: ${sentence}`;
}

function differenceText(seen: Difference): string {
  switch (seen.reason) {
    case 'nothing-seen':
      return `nothing of it was seen on ${seen.at}`;
    case 'wrong-next-machine':
      return `${seen.at} sent the packet to ${seen.to}, but its route to ${seen.destination} leads to ${or(seen.leads)}${cameFrom(seen)}`;
    case 'wrong-destination':
      return `${seen.at} led it to ${seen.destination}${by(seen, ' by')}, but only ${or(seen.wanted)} may answer${cameFrom(seen)}`;
    case 'source-kept':
      return `nobody changed the source ${seen.source} on the path, but the server is to see ${or(seen.wanted)}`;
    case 'source-replaced':
      return `${seen.at} replaced the source ${seen.before === undefined ? '' : `${seen.before} `}by ${seen.source}${by(seen, ' with')}, but the server is to see ${or(seen.wanted)}`;
    case 'lost-on-link':
      return `the packet left ${seen.at} by ${seen.interface} for ${or(seen.to)}, where it never arrived`;
    case 'stopped':
      return seen.interface === undefined
        ? `${seen.at} did not send it: ${ruleText(seen.rule)} stopped it`
        : `${reached(seen)}${ruleText(seen.rule)} stopped it there${seen.nextHopOf === undefined ? '' : `, but ${seen.nextHopOf} still has ${seen.at} as next hop`}`;
    case 'refused':
      return `${reached(seen)}${seen.at} itself refused it, because nothing there listens or translates it${predicted(seen)}`;
    case 'answered-locally':
      return `${reached(seen)}a program on ${seen.at} itself answered it${seen.rule === undefined ? '' : `, to which ${ruleText(seen.rule)} led it`}${predicted(seen)}`;
    case 'icmp':
      return `${reached({ ...seen, at: seen.last })}${seen.at} answered with ICMP type ${seen.type} code ${seen.code}${predicted(seen)}`;
    case 'no-route':
      return `${reached(seen)}${seen.at} has no route for it (${seen.route})${predicted(seen)}${cameFrom(seen)}`;
    case 'not-sent':
      return `nothing of it left ${seen.at}: ${seen.said}${seen.problem === undefined ? '' : ` (${seen.problem})`}`;
    case 'ended':
      return `${reached(seen)}it went no further, and no rule and no route there tells why${predicted(seen)}`;
    case 'sent-on':
      return `the packet was to end on ${seen.at} (${seen.predicted}), but ${seen.at} sent it on to ${seen.to} by ${seen.interface}`;
    case 'ended-by-other-rule':
      return `the packet reached ${seen.at} ${seen.interface} and ended there, but ${seen.rule === undefined ? 'no rule counted it' : `by ${ruleText(seen.rule)}`} and not as predicted: ${seen.predicted}`;
    case 'other-outcome':
      return `the packet ended on ${seen.at} as predicted (${seen.predicted}), but that looked like ${seen.outcome} and not like ${seen.wanted}${seen.said === null ? '' : `: ${seen.said}`}`;
    case 'answered-elsewhere':
      return `the packet was to end on ${seen.end} (${seen.predicted}), but it was answered on ${seen.at}`;
    case 'pod-silent':
      return `${arrived(seen)}, which got it and did not answer`;
    case 'pod-refused':
      return `${arrived(seen)}, which refused it: nothing listens on port ${seen.port} there`;
    case 'server-silent':
      return `${arrived(seen)}, which accepted the connection and then said nothing: the server there does not serve`;
    case 'wrong-answer':
      return `${arrived(seen)} and back, but what ${seen.at} said is wrong: ${seen.said}`;
    case 'right-this-time':
      return `${arrived(seen)} and back, and this time it was answered as it has to be`;
    case 'second-packet-lost':
      return `${seen.at} sent the first packet on, but not what followed when the connection was made${stopper(seen)}`;
    case 'answer-stopped':
      return `${seen.pod} answered, but ${seen.at} did not send the answer on${stopper(seen)}`;
    case 'answer-lost-on-link':
      return `${seen.pod} answered, and the answer left ${seen.at} by ${seen.interface} for ${or(seen.to)}, where it never arrived`;
    case 'not-repeated':
      return `${seen.tries} more tries while everything was watched all ended as they have to`;
    case 'probe-failed':
      return `the connection could not be made again: ${seen.said}`;
    case 'name-not-resolved':
      return `${seen.from} could not resolve ${seen.name}: ${seen.said}`;
  }
}

function or(names: readonly string[]): string {
  return names.join(' or ');
}

function arrived({ at, machine }: { readonly at: string; readonly machine: string }): string {
  return `the packet took the predicted path to ${at} on ${machine}`;
}

function reached({
  at,
  interface: by,
}: {
  readonly at: string;
  readonly interface?: string | undefined;
}): string {
  return by === undefined ? '' : `the packet reached ${at} ${by}, and `;
}

function predicted({ predicted: text }: { readonly predicted?: string | undefined }): string {
  return text === undefined ? '' : `; predicted there: ${text}`;
}

function cameFrom({ from }: { readonly from?: string | undefined }): string {
  return from === undefined ? '' : ` (it came from ${from})`;
}

function by({ rule }: { readonly rule?: SeenRule | undefined }, how: string): string {
  return rule === undefined ? '' : `${how} ${ruleText(rule)}`;
}

function stopper({ rule }: { readonly rule?: SeenRule | undefined }): string {
  return rule === undefined ? '' : `: ${ruleText(rule)} stopped it`;
}
