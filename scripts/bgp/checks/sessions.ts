import type { LabPlan, PeeringPlan } from '../../plan/types.ts';
import { RESTART_SECONDS } from '../../render/bird.ts';
import { NOT_ASKED } from './ask.ts';
import { type CheckOf, checkId, makeCheck } from './check.ts';
import { type Agreed, CAPABILITIES, type SessionState } from './frr.ts';
import type { BgpObservation } from './observe.ts';

type Session = CheckOf<'session'>;
type Reason = Session['reason'];
type SessionEnd = NonNullable<Session['seen']>['ends'][number];
type Observed = ReadonlyMap<string, BgpObservation>;

/** What BIRD offers where nobody sets it, as Calico leaves it in its mesh. */
const BIRD_HOLD_SECONDS = 240;

/** Every planned session at both of its ends, and each established one that nobody planned. */
export function checkSessions(plan: LabPlan, observed: Observed): readonly Session[] {
  return [
    ...plan.bgp.peerings.map((peering) => checkSession(plan, peering, observed)),
    ...unplannedSessions(plan, observed),
  ];
}

/** Something that is not as planned, or will not be so much longer: the id of its check, and a sentence. */
export interface BgpProblem {
  readonly id: string;
  readonly why: string;
}

/**
 * The sessions that end before the other end's next keepalive is due. Without anything broken that happens for some seconds
 * after all machines stood still: BIRD 1.6 looks at its clock before poll() and not after, so to it what it reads first has
 * come before the pause (io_loop in https://github.com/projectcalico/bird/blob/master/sysdep/unix/io.c).
 */
export function endingSessions({ bgp }: LabPlan, observed: Observed): readonly BgpProblem[] {
  return bgp.peerings.flatMap(({ kind: protocol, a, b }) =>
    [a, b].flatMap(({ machine }) => {
      const other = machine === a.machine ? b : a;
      const sessions = observed.get(machine)?.sessions;
      const { endsIn = Number.POSITIVE_INFINITY } =
        (sessions?.ok && sessions.value.find(({ neighbor }) => neighbor === other.address)) || {};
      if (endsIn > bgp.keepaliveSeconds) return [];
      const id = checkId('session', { a: a.machine, b: b.machine, protocol });
      return [{ id, why: `${machine} waits for a keepalive of ${other.machine}, for ${endsIn} s at most` }];
    }),
  );
}

function checkSession(plan: LabPlan, { kind, a, b }: PeeringPlan, observed: Observed): Session {
  const wanted = [
    { machine: a.machine, ...agreementOf(plan, kind, a, b) },
    { machine: b.machine, ...agreementOf(plan, kind, b, a) },
  ] as const;
  const ends = [endAt(a.machine, b, observed, wanted[0]), endAt(b.machine, a, observed, wanted[1])];
  const wrong = ends.find(({ reason }) => reason !== 'as-wanted' && reason !== 'not-read');
  const reason = (wrong ?? ends.find((end) => end.reason === 'not-read'))?.reason ?? 'as-wanted';
  return makeCheck(
    'session',
    { a: a.machine, b: b.machine, protocol: kind },
    {
      reason,
      wanted: { state: 'Established', ends: wanted },
      seen: { ends: ends.map(({ seen }) => seen) },
    },
  );
}

/** What one end must say of an established session. */
function agreementOf(
  { bgp, calico }: LabPlan,
  kind: PeeringPlan['kind'],
  own: PeeringPlan['a'],
  peer: PeeringPlan['b'],
): Agreed {
  const isFrr = own.asn === bgp.routerAsn;
  return {
    // The smaller offer counts, and the router makes one to its neighbors.
    holdSeconds: kind === 'ibgp' && calico !== undefined ? BIRD_HOLD_SECONDS : bgp.holdSeconds,
    capabilities: CAPABILITIES,
    ...(isFrr ? { password: true, restartSeconds: RESTART_SECONDS } : {}),
    asPaths: [kind === 'ibgp' ? '' : String(peer.asn)],
  };
}

function endAt(
  machine: string,
  other: PeeringPlan['a'],
  observed: Observed,
  wanted: Agreed,
): { readonly reason: Reason; readonly seen: SessionEnd } {
  const sessions = observed.get(machine)?.sessions ?? NOT_ASKED;
  if (!sessions.ok)
    return {
      reason: sessions.fault === 'lab' ? 'no-answer' : 'not-read',
      seen: { machine, state: null, problem: sessions.detail },
    };
  const session = sessions.value.find(({ neighbor }) => neighbor === other.address);
  if (session === undefined) return { reason: 'not-configured', seen: { machine, state: null } };
  const { state, remoteAsn } = session;
  if (remoteAsn !== other.asn)
    return { reason: 'wrong-as', seen: { machine, state, asn: remoteAsn, wantedAsn: other.asn } };
  const seen = endOf(machine, session);
  if (state !== 'Established') return { reason: 'not-established', seen };
  return { reason: reasonOf(wanted, seen.agreed), seen };
}

function endOf(machine: string, { state, agreed, asPaths, drops }: SessionState): SessionEnd {
  return {
    machine,
    state,
    ...(agreed === undefined ? {} : { agreed: { ...agreed, asPaths } }),
    ...(drops === undefined ? {} : { drops }),
  };
}

/** The first thing that is not as wanted. */
function reasonOf(wanted: Agreed, seen: Agreed | undefined): Reason {
  if (seen === undefined) return 'as-wanted';
  if (seen.holdSeconds !== wanted.holdSeconds) return 'hold-time';
  if (wanted.capabilities.some((each) => !seen.capabilities.includes(each))) return 'capabilities';
  if (seen.password !== wanted.password) return 'password';
  if (seen.restartSeconds !== wanted.restartSeconds) return 'restart-time';
  return seen.asPaths.every((path) => wanted.asPaths.includes(path)) ? 'as-wanted' : 'as-path';
}

function unplannedSessions(plan: LabPlan, observed: Observed): readonly Session[] {
  const nameOf = (address: string) =>
    plan.machines.find((machine) => machine.address === address)?.name ?? address;
  const found = new Map<string, Session>();
  const hasMesh = plan.bgp.peerings.some(({ kind }) => kind === 'ibgp');
  for (const { name, asn } of plan.machines) {
    const sessions = observed.get(name)?.sessions;
    if (sessions?.ok !== true) continue;
    for (const session of sessions.value) {
      const [a = '', b = ''] = [name, nameOf(session.neighbor)].sort();
      const isPlanned = plan.bgp.peerings.some(
        (each) => [each.a.machine, each.b.machine].sort().join() === `${a},${b}`,
      );
      // Where Calico's mesh is off, its own objects say who peers.
      const isMeant = !hasMesh && session.remoteAsn === asn;
      if (session.state !== 'Established' || isPlanned || isMeant) continue;
      const ends = [...(found.get(`${a} ${b}`)?.seen?.ends ?? []), endOf(name, session)];
      const protocol = session.remoteAsn === asn ? 'ibgp' : 'ebgp';
      found.set(
        `${a} ${b}`,
        makeCheck(
          'session',
          { a, b, protocol },
          { reason: 'unplanned', wanted: { state: 'absent', ends: [] }, seen: { ends } },
        ),
      );
    }
  }
  return [...found.values()];
}
