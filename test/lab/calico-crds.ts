import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import {
  CALICO_APIS,
  renderBgpResources,
  renderClusterInformation,
  renderInstallation,
  renderLoadBalancerPools,
  renderPodPool,
} from '../../scripts/render/calico.ts';
import { calicoPlan } from '../render/fixture.ts';
import { until, type Workplace } from './support.ts';

const OPERATOR = 'operator.tigera.io';
const KINDS = [
  ...['bgpconfigurations', 'bgpfilters', 'bgppeers', 'caliconodestatuses', 'clusterinformations'],
  'ippools',
];
/** The names of the CRDs that each group of resources needs. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  [OPERATOR]: ['installations.operator.tigera.io'],
  'projectcalico.org/v3': KINDS.map((kind) => `${kind}.projectcalico.org`),
  'crd.projectcalico.org/v1': KINDS.map((kind) => `${kind}.crd.projectcalico.org`),
};

interface Crd {
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

/**
 * Calico's own CRDs, given to the API server of a lab that is up: it accepts every resource that the lab renders, and
 * refuses a field that Calico does not know. The CRDs are test data that is not part of the project: files *.yaml in the
 * folder $CALICO_RELEASE, for instance a release's manifests/.
 *
 * Kubernetes 1.20 knows neither x-kubernetes-validations (CEL rules, such as "node and nodeSelector cannot both be set")
 * nor the default "" of server-side apply: both are left out of the copy that it gets. The rules are thus not proven.
 */
export function proveCalicoResources(place: Workplace): void {
  const crds = availableCrds(process.env.CALICO_RELEASE);
  for (const [group, names] of Object.entries(NEEDED)) {
    const missing = names.filter((name) => !crds.has(name));
    if (missing.length > 0)
      console.warn(`SKIPPED: not in $CALICO_RELEASE, for resources of ${group}: ${missing.join(', ')}`);
    describe.skipIf(missing.length > 0)(`resources of ${group} on the lab's API server`, () => {
      proveGroup(place, group, new Map([...crds].filter(([name]) => names.includes(name))));
    });
  }
}

function proveGroup(place: Workplace, group: string, crds: ReadonlyMap<string, Crd>): void {
  const names = [...crds.keys()];
  const resources = rendered(group);
  const file = (name: string, content: string) => {
    const path = join(place.dir, name);
    writeFileSync(path, content);
    return path;
  };
  /** The server itself checks every field in a server-side apply; kubectl's own check is switched off. */
  const offer = (content: string) => {
    const flags = ['--server-side', '--dry-run=server', '--validate=false'];
    return place.kubectl('apply', ...flags, '--filename', file('offered.yaml', content));
  };

  it('it takes their CRDs', async () => {
    const items = [...crds.values()].map(fitFor120);
    const path = file('crds.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    const { code, stderr } = await place.kubectl('apply', '--server-side', '--filename', path);
    expect(code, stderr).toBe(0);
    await until('the CRDs to be served', 30_000, async () => {
      const { stdout } = await place.kubectl('api-resources', '--output', 'name');
      return names.every((name) => stdout.split('\n').includes(name));
    });
  });

  it('it takes all that the lab renders', async () => {
    const { code, stdout, stderr } = await offer([...resources.values()].join('---\n'));
    expect(code, stderr).toBe(0);
    expect(stdout.match(/serverside-applied/g)).toHaveLength(resources.size);
  });

  it.each(MISTAKES.filter(([kind]) => resources.has(kind)))(
    'it refuses %s with %s',
    async (kind, wrong, right, complaint) => {
      const text = resources.get(kind) ?? '';
      expect(text).toContain(right);
      const { code, stderr } = await offer(text.replace(right, wrong));
      expect(code).not.toBe(0);
      expect(stderr).toContain(complaint);
    },
  );

  it('it forgets them', async () => {
    const { code, stderr } = await place.kubectl('delete', 'crd', ...names);
    expect(code, stderr).toBe(0);
  });
}

/** Resource, what is written by mistake instead of what, and what the server says. */
const MISTAKES: readonly (readonly [string, string, string, string])[] = [
  [
    'BGPPeer lab-router',
    'nodeSelecter:',
    'nodeSelector:',
    '.spec.nodeSelecter: field not declared in schema',
  ],
  ['BGPConfiguration default', 'asNumber: many', 'asNumber: 65001', 'expected numeric'],
  ['Installation default', 'linuxDataplane: Ipchains', 'linuxDataplane: Iptables', 'Unsupported value'],
];

/** Every resource of a group that the lab writes, by "KIND NAME". */
function rendered(group: string): ReadonlyMap<string, string> {
  const plan = calicoPlan();
  const api = CALICO_APIS.find((each) => each === group);
  const texts =
    api === undefined
      ? [renderInstallation(plan)]
      : [renderBgpResources, renderPodPool, renderLoadBalancerPools]
          .map((render) => render(plan, api))
          .concat(renderClusterInformation(api));
  const documents = texts.flatMap((text) => parseAllDocuments(text));
  return new Map(
    documents
      // Its CRD is of no interest: the resource has an empty spec.
      .filter((document) => document.get('kind') !== 'APIServer')
      .map((document) => [
        `${document.get('kind')} ${document.getIn(['metadata', 'name'])}`,
        document.toString(),
      ]),
  );
}

function availableCrds(folder: string | undefined): ReadonlyMap<string, Crd> {
  if (folder === undefined || !existsSync(folder)) return new Map();
  const found = readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .flatMap((name) => parseAllDocuments(readFileSync(join(folder, name), 'utf8')))
    .map((document): Crd | null => document.toJS())
    .filter((object): object is Crd => object?.kind === 'CustomResourceDefinition');
  return new Map(found.map((object) => [object.metadata.name, object]));
}

/** A copy without what Kubernetes 1.20 refuses. */
function fitFor120(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fitFor120);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, each]) => key !== 'x-kubernetes-validations' && !(key === 'default' && each === ''))
      .map(([key, each]) => [key, fitFor120(each)]),
  );
}
