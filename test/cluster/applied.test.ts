import { describe, expect, it } from 'vitest';
import type { ApiAnswer } from '../../scripts/cluster/api-question.ts';
import { isApplied, LAST_APPLIED } from '../../scripts/cluster/applied.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { liveObjects, namesIn } from '../../scripts/cluster/live-objects.ts';
import { applyManifests } from '../../scripts/workloads/apply.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';

const MANIFEST = `apiVersion: v1
kind: Service
metadata: { name: s, namespace: n }
spec:
  type: NodePort
  ports:
    - { name: tcp, port: 1234 }
---
# Only a comment.
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: 'lab:r' }
rules:
  - { resources: [services], verbs: [list] }
`;

const service = {
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 's', namespace: 'n' } },
  spec: { type: 'NodePort', ports: [{ name: 'tcp', port: 1234 }] },
};
const role = {
  ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'lab:r' } },
  rules: [{ resources: ['services'], verbs: ['list'] }],
};
const SERVICE = '/api/v1/namespaces/n/services/s';
const ROLE = '/apis/rbac.authorization.k8s.io/v1/clusterroles/lab%3Ar';

/** An object after kubectl has applied it and the API server has added to it. */
function live(given: { metadata: object }, more: object = {}, noted: object = {}) {
  const annotations = {
    [LAST_APPLIED]: JSON.stringify({
      ...given,
      metadata: { annotations: {}, ...given.metadata },
      ...noted,
    }),
  };
  return { ...given, metadata: { ...given.metadata, uid: 'u', annotations }, ...more };
}

const WHOLE: Readonly<Record<string, unknown>> = {
  '/api/v1': {
    resources: [
      { name: 'services/status', kind: 'Service', namespaced: true },
      { name: 'services', kind: 'Service', namespaced: true },
    ],
  },
  '/apis/rbac.authorization.k8s.io/v1': {
    resources: [{ name: 'clusterroles', kind: 'ClusterRole', namespaced: false }],
  },
  [SERVICE]: live(service, {
    spec: {
      ...service.spec,
      clusterIP: '10.96.0.9',
      ports: [{ name: 'tcp', port: 1234, protocol: 'TCP', nodePort: 31000 }],
    },
    status: {},
  }),
  [ROLE]: live(role),
};

/** A kubectl whose processes say "unchanged", with an API server that answers this, or nothing where that is undefined. */
function cluster(changed: Readonly<Record<string, unknown>> | undefined) {
  const local = recordingExecutor(() => 'service/s unchanged\n');
  const reader = async (path: string): Promise<ApiAnswer> => {
    if (changed === undefined) throw new Error('refused');
    const answer = path in changed ? changed[path] : WHOLE[path];
    if (typeof answer === 'number') return { status: answer, text: '' };
    return { status: answer === undefined ? 404 : 200, text: JSON.stringify(answer) };
  };
  return { local, kubectl: kubectlWith(local, { binary: 'kubectl', kubeconfig: 'k' }, async () => reader) };
}

it('manifests are not applied again where all objects are as they were applied, whatever the API server added', async () => {
  const { local, kubectl } = cluster({});
  expect(await applyManifests(kubectl, MANIFEST)).toBe(false);
  expect(local.lines()).toEqual([]);
});

const spec = (more: object) => ({ [SERVICE]: live(service, { spec: { ...service.spec, ...more } }) });

it.each<readonly [string, Readonly<Record<string, unknown>> | undefined]>([
  ['an object is not there', { [SERVICE]: undefined }],
  ['a kind is not served', { '/apis/rbac.authorization.k8s.io/v1': undefined }],
  ['somebody has changed it', spec({ type: 'ClusterIP' })],
  ['somebody has taken something of it away', spec({ type: undefined })],
  ['an item of a list was changed', spec({ ports: [{ name: 'tcp', port: 1235 }] })],
  ['a list has an item more', spec({ ports: [...service.spec.ports, { name: 'udp', port: 5678 }] })],
  [
    'an item of a list that is replaced as a whole has more in it',
    { [ROLE]: live(role, { rules: [{ ...role.rules[0], resourceNames: ['x'] }] }) },
  ],
  ['something else was applied, of which something may have to go', { [ROLE]: live(role, {}, { spec: 1 }) }],
  ['it was made in another way', { [ROLE]: role }],
  ['the API server refuses', { [ROLE]: 403 }],
  ['nothing answers', undefined],
])('kubectl applies all of them where %s', async (_, changed) => {
  const { local, kubectl } = cluster(changed);
  expect(await isApplied(kubectl, MANIFEST)).toBe(false);
  await applyManifests(kubectl, MANIFEST);
  expect(local.lines().filter((line) => line.endsWith(' apply -f -'))).toHaveLength(1);
});

it('objects of kinds that are not served are not there, and nothing is known where one cannot be read', async () => {
  const wanted = [service, { ...role, kind: 'Strange' }, role];
  expect(await liveObjects(cluster({}).kubectl, wanted)).toEqual([WHOLE[SERVICE], undefined, WHOLE[ROLE]]);
  expect(await liveObjects(cluster({ [ROLE]: 500 }).kubectl, wanted)).toBeUndefined();
  expect(await liveObjects(cluster(undefined).kubectl, wanted)).toBeUndefined();
});

describe('a manifest', () => {
  const head = (metadata: string) =>
    `# Source\nkind: A\napiVersion: "g/v1" # why\n${metadata}spec:\n  name: x\n`;
  it('names of objects are found without parsing', () => {
    const text = [
      head('metadata:\n  labels:\n    name: no\n\n  name: a\n  namespace: n\n'),
      '# nothing\n',
      head('metadata:\n  name: lab:b\n'),
    ].join('---\n');
    expect(namesIn(text)).toEqual([
      { apiVersion: 'g/v1', kind: 'A', metadata: { name: 'a', namespace: 'n' } },
      { apiVersion: 'g/v1', kind: 'A', metadata: { name: 'lab:b', namespace: undefined } },
    ]);
  });

  it.each([
    ['metadata in one line', head('metadata: { name: a }\n')],
    ['no name', head('metadata:\n  labels: {}\n')],
    ['a name over lines', head('metadata:\n  name: >-\n    a\n')],
    ['two objects in one document', head('metadata:\n  name: a\n') + head('metadata:\n  name: b\n')],
    ['JSON', '{"kind":"A"}\n'],
  ])('and are left to kubectl where there is %s', (_, text) => {
    expect(namesIn(text)).toBeUndefined();
  });
});
