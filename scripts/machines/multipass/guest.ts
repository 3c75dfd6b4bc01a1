import { z } from 'zod';
import { LabFailure } from '../../shared/errors.ts';
import { type Cidr, contains } from '../../shared/ip.ts';
import { type LinkAddress, readLinks, readRoutes } from '../../shared/ip-json.ts';
import type { Multipass } from './client.ts';

/** Where user-data puts the name of the lab that a machine belongs to. */
const OWNER_FILE = '/etc/lab/owner';

/** What a running guest says about itself. */
export interface GuestFacts {
  /** The lab that it was made for; absent while cloud-init has not come to it, and on machines that are not a lab's. */
  readonly owner?: string | undefined;
  /** Its SSH host key, as a public key line. */
  readonly hostKey?: string | undefined;
  readonly cloudInit: { readonly finished: boolean; readonly errors: readonly string[] };
  readonly addresses: readonly LinkAddress[];
  /** Its default route: the device, and the gateway, which is the host. */
  readonly uplink?: { readonly device: string; readonly gateway?: string | undefined } | undefined;
}

const SECTIONS = ['owner', 'key', 'status', 'result', 'addresses', 'routes', 'end'] as const;
type Section = (typeof SECTIONS)[number];

/**
 * All questions at once, so that a machine is asked with one call. The script always ends with 0, since Multipass up to
 * 1.16 runs a command again and again that ends with 4 (https://github.com/canonical/multipass/issues/3771), and 1 and 2
 * are also its own failures; that it came to its end is told by the last section. Nothing in it reads the script's own
 * standard input, and nothing needs root.
 */
const QUESTIONS = `{
section() { printf '\\n@lab %s\\n' "$1"; }
section owner; cat ${OWNER_FILE}
section key; cat /etc/ssh/ssh_host_ed25519_key.pub
section status; cat /run/cloud-init/status.json
section result; cat /run/cloud-init/result.json
section addresses; ip -4 -j addr
section routes; ip -4 -j route show default
section end
exit 0
} 2>/dev/null </dev/null
`;

/**
 * Asks a running guest through the daemon, a channel that is trusted: so host keys learned this way can be pinned.
 * Throws MultipassFailure where it cannot be asked, LabFailure where the answer is cut off. The caller has seen that it
 * runs: Multipass would start a stopped one unasked.
 */
export async function askGuest(client: Multipass, name: string): Promise<GuestFacts> {
  const answer = sections(await client.script(name, QUESTIONS));
  if (!answer.has('end')) {
    throw new LabFailure(`${name} did not answer to the end.`, {
      details: [`parts that came: ${[...answer.keys()].join(', ') || 'none'}`],
      next: `multipass exec -n ${name} -- cloud-init status --long`,
    });
  }
  const text = (section: Section) => answer.get(section)?.trim() || undefined;
  // The one with the lowest metric is used; none given counts as 0.
  const [route] = [...readRoutes(text('routes') ?? '')].sort((a, b) => a.metric - b.metric);
  return {
    owner: text('owner'),
    hostKey: text('key')
      ?.split('\n')
      .find((line) => line.startsWith('ssh-')),
    cloudInit: cloudInitState(json(text('status')), json(text('result'))),
    addresses: readLinks(text('addresses') ?? '')
      .flatMap((link) => link.addresses)
      .filter(({ scope }) => scope === 'global'),
    uplink: route?.dev === undefined ? undefined : { device: route.dev, gateway: route.gateway },
  };
}

const errorsSchema = z.array(z.string()).catch([]);
const resultSchema = z.object({ v1: z.object({ errors: errorsSchema }) });
const statusSchema = z.object({ v1: z.record(z.string(), z.unknown()) });
const stageSchema = z.object({ errors: errorsSchema });

/**
 * cloud-init's verdict: result.json is there when it has finished, and until then status.json has the errors of every
 * stage so far (https://docs.cloud-init.io/en/latest/explanation/failure_states.html).
 */
function cloudInitState(status: unknown, result: unknown): GuestFacts['cloudInit'] {
  const finished = resultSchema.safeParse(result);
  if (finished.success) return { finished: true, errors: finished.data.v1.errors };
  const running = statusSchema.safeParse(status);
  const stages = running.success ? Object.values(running.data.v1) : [];
  return {
    finished: false,
    errors: stages.flatMap((stage) => stageSchema.safeParse(stage).data?.errors ?? []),
  };
}

/**
 * The address that the host reaches a machine at: on the device of its default route, and none of the lab's own. The
 * first that Multipass lists may be a pod bridge's or a virtual one (https://github.com/canonical/multipass/issues/2368).
 */
export function managementAddress(facts: GuestFacts, labNetwork: Cidr | undefined): LinkAddress | undefined {
  const candidates = facts.addresses.filter(
    ({ dev, address }) =>
      dev === facts.uplink?.device && (labNetwork === undefined || !contains(labNetwork, address)),
  );
  return candidates.find(({ dynamic }) => dynamic) ?? candidates[0];
}

function sections(output: string): ReadonlyMap<Section, string> {
  const found = new Map<Section, string>();
  let current: Section | undefined;
  for (const line of plain(output).split('\n')) {
    const title = /^@lab (\w+)$/.exec(line)?.[1];
    const section = SECTIONS.find((each) => each === title);
    if (section !== undefined) current = section;
    if (current === undefined) continue;
    found.set(current, section === undefined ? `${found.get(current) ?? ''}${line}\n` : '');
  }
  return found;
}

// A spinner may stand before the answer: escape sequences, backspaces, carriage returns.
function plain(output: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  return output.replaceAll(/\u001b\[[0-9;?]*[A-Za-z]|.?\u0008|\r/g, '');
}

// A file that cloud-init writes at this moment may be cut; the next look sees it whole.
function json(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
