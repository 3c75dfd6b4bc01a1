import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { hasMutatingPolicies, renderCalicoManifest } from '../../scripts/render/calico.ts';
import { LabFailure } from '../../scripts/shared/errors.ts';
import { calicoPlan } from './fixture.ts';

/** Cut out of manifests/calico.yaml of Calico v3.32.1: what is changed, and something of each kind around it. */
const EXCERPT = `---
# Source: calico/templates/calico-config.yaml
kind: ConfigMap
apiVersion: v1
metadata:
  name: calico-config
  namespace: kube-system
data:
  calico_backend: "bird"
---
# Source: calico/templates/calico-webhooks.yaml
# Nothing but comments, as in calico-v3-crds.yaml.
---
kind: DaemonSet
apiVersion: apps/v1
metadata:
  name: calico-node
  namespace: kube-system
spec:
  template:
    spec:
      initContainers:
        - name: install-cni
          image: quay.io/calico/cni:v3.32.1
          imagePullPolicy: IfNotPresent
      containers:
        - name: calico-node
          image: quay.io/calico/node:v3.32.1
          imagePullPolicy: IfNotPresent
          readinessProbe:
            exec:
              command: [/bin/calico-node, -felix-ready, -bird-ready]
            periodSeconds: 10
            timeoutSeconds: 10
          env:
            - name: CALICO_NETWORKING_BACKEND
              valueFrom:
                configMapKeyRef:
                  name: calico-config
                  key: calico_backend
            - name: CLUSTER_TYPE
              value: "k8s,bgp"
            - name: IP
              value: "autodetect"
            - name: CALICO_IPV4POOL_IPIP
              value: "Always"
            - name: CALICO_IPV4POOL_VXLAN
              value: "Never"
            # - name: CALICO_IPV4POOL_CIDR
            #   value: "192.168.0.0/16"
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: calico-kube-controllers
  namespace: kube-system
spec:
  template:
    spec:
      containers:
        - name: calico-kube-controllers
          image: quay.io/calico/kube-controllers:v3.32.1
          imagePullPolicy: IfNotPresent
          env:
            - name: ENABLED_CONTROLLERS
              value: node
`;

interface Workload {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly template?: { readonly spec: Record<'containers' | 'initContainers', Container[]> };
  };
}
interface Container {
  readonly image: string;
  readonly imagePullPolicy: string;
  readonly startupProbe?: object;
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: unknown }[];
}

const plan = calicoPlan();
const objectsOf = (text: string) =>
  parseAllDocuments(text).flatMap((each): Workload[] => (each.toJS() === null ? [] : [each.toJS()]));
const containersOf = (text: string) =>
  objectsOf(text).flatMap(({ spec }) => [
    ...(spec?.template?.spec.initContainers ?? []),
    ...(spec?.template?.spec.containers ?? []),
  ]);
const environmentOf = (text: string, image: string) =>
  Object.fromEntries(
    (containersOf(text).findLast((each) => each.image.includes(image))?.env ?? []).map(
      ({ name, value, valueFrom }) => [name, value ?? valueFrom],
    ),
  );

const WANTED = {
  CALICO_IPV4POOL_CIDR: '10.255.0.0/16',
  CALICO_IPV4POOL_BLOCK_SIZE: '26',
  CALICO_IPV4POOL_IPIP: 'Never',
  CALICO_IPV4POOL_VXLAN: 'Never',
  CALICO_IPV4POOL_NAT_OUTGOING: 'true',
  IP: 'autodetect',
  IP_AUTODETECTION_METHOD: 'cidr=192.168.13.0/24',
  CLUSTER_TYPE: 'k8s,bgp',
};

describe("Calico's manifest", () => {
  it('is made for the plan, each variable once', () => {
    const text = renderCalicoManifest(plan, EXCERPT, 'v1');
    expect(environmentOf(text, 'calico/node:')).toMatchObject(WANTED);
    const names = containersOf(text).flatMap(({ env = [] }) => env.map(({ name }) => name));
    expect(new Set(names).size).toBe(names.length);
    expect(environmentOf(text, 'calico/node:').CALICO_NETWORKING_BACKEND).toHaveProperty('configMapKeyRef');
  });

  it('pulls nothing, and keeps the rest as it is', () => {
    const text = renderCalicoManifest(plan, EXCERPT, 'v1');
    expect(containersOf(text).map(({ imagePullPolicy }) => imagePullPolicy)).toEqual([
      'Never',
      'Never',
      'Never',
    ]);
    expect(objectsOf(text)[0]).toEqual(objectsOf(EXCERPT)[0]);
    expect(text).toContain('# Source: calico/templates/calico-config.yaml');
  });

  it('leaves CRDs in their place, as they are written', () => {
    const crd = 'kind: CustomResourceDefinition\nmetadata:\n  name: x\nspec: {   a:  1 }\n';
    const [before, ...after] = EXCERPT.split('---\nkind: DaemonSet');
    const text = renderCalicoManifest(
      plan,
      `${before}---\n${crd}---\nkind: DaemonSet${after.join('')}`,
      'v1',
    );
    expect(text).toContain(`---\n${crd}---\n`);
    expect(objectsOf(text).map(({ kind }) => kind)).toEqual([
      'ConfigMap',
      'CustomResourceDefinition',
      'DaemonSet',
      'Deployment',
    ]);
  });

  it('asks a container that starts every second, with its own question', () => {
    const [, node, controllers] = containersOf(renderCalicoManifest(plan, EXCERPT, 'v1'));
    expect(node?.startupProbe).toEqual({
      exec: { command: ['/bin/calico-node', '-felix-ready', '-bird-ready'] },
      periodSeconds: 1,
      timeoutSeconds: 10,
      failureThreshold: 300,
    });
    expect(controllers?.startupProbe).toBeUndefined();
  });

  it('runs the controller of LoadBalancer addresses where the lab wants it', () => {
    const controllers = (loadBalancer: 'ipam' | 'externalIPs') => {
      const text = renderCalicoManifest({ ...plan, echo: { ...plan.echo, loadBalancer } }, EXCERPT, 'v1');
      return environmentOf(text, 'kube-controllers').ENABLED_CONTROLLERS;
    };
    expect([controllers('ipam'), controllers('externalIPs')]).toEqual(['node,loadbalancer', 'node']);
  });

  it('says in which group native resources are, and nothing where there are none', () => {
    const crd = 'kind: CustomResourceDefinition\nmetadata:\n  name: bgppeers.projectcalico.org\n---\n';
    const group = (text: string) =>
      ['calico/node:', 'kube-controllers'].map(
        (image) => environmentOf(renderCalicoManifest(plan, text, 'v1'), image).CALICO_API_GROUP,
      );
    expect(group(crd + EXCERPT)).toEqual(['projectcalico.org/v3', 'projectcalico.org/v3']);
    expect(group(EXCERPT)).toEqual([undefined, undefined]);
  });

  describe('with native resources', () => {
    /** As in calico-v3-crds.yaml. */
    const NATIVE = `${EXCERPT}---
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicy
metadata:
  name: tierlabel.policy.projectcalico.org
---
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicyBinding
metadata:
  name: set-tier-label-binding
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: protect-builtin-tiers.projectcalico.org
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: calico-webhooks
  namespace: kube-system
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: calico-webhooks
`;
    const policies = (admission?: 'v1' | 'v1beta1') =>
      parseAllDocuments(renderCalicoManifest(plan, NATIVE, admission)).flatMap((each) => {
        const { apiVersion, kind } = each.toJS() as { apiVersion: string; kind: string };
        return kind.includes('Admission') ? [`${apiVersion} ${kind}`] : [];
      });
    const VALIDATING = 'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy';

    it.each(['v1', 'v1beta1'] as const)('has its policies in the version that is served: %s', (admission) => {
      expect(policies(admission)).toEqual([
        `admissionregistration.k8s.io/${admission} MutatingAdmissionPolicy`,
        `admissionregistration.k8s.io/${admission} MutatingAdmissionPolicyBinding`,
        VALIDATING,
      ]);
    });

    it('has none where none is served', () => {
      expect(policies()).toEqual([VALIDATING]);
    });

    it('has no webhooks, which nobody gave a certificate', () => {
      expect(renderCalicoManifest(plan, NATIVE, 'v1')).not.toContain('calico-webhooks');
    });

    it('is told from one without', () => {
      expect([hasMutatingPolicies(NATIVE), hasMutatingPolicies(EXCERPT)]).toEqual([true, false]);
    });
  });

  it('is the same when it is made again', () => {
    const text = renderCalicoManifest(plan, EXCERPT, 'v1');
    expect(renderCalicoManifest(plan, text, 'v1')).toBe(text);
  });

  it.each([
    ['nothing', ''],
    ['something else', 'kind: Namespace\napiVersion: v1\nmetadata: { name: x }\n'],
    ['no YAML', 'a: [1\n'],
    ['no controllers', EXCERPT.replace('kind: Deployment', 'kind: Job')],
    ['another container', EXCERPT.replace('- name: calico-node\n', '- name: other\n')],
  ])('is refused where it is %s', (_, text) => {
    expect(() => renderCalicoManifest(plan, text, 'v1')).toThrow(LabFailure);
  });
});

// The whole files are test data that is not part of the project: 400 kB each.
const folder = process.env.CALICO_RELEASE;
for (const name of ['calico.yaml', 'calico-v3-crds.yaml']) {
  const file = folder === undefined ? undefined : join(folder, name);
  const isThere = file !== undefined && existsSync(file);
  if (!isThere)
    console.warn(`SKIPPED: ${name} of Calico v3.32.1 is not in $CALICO_RELEASE (a release's manifests/)`);
  it.skipIf(!isThere)(`${name} of a release`, () => {
    const given = readFileSync(file ?? '', 'utf8');
    const text = renderCalicoManifest(plan, given, 'v1');
    expect(environmentOf(text, 'calico/node:')).toMatchObject(WANTED);
    expect(new Set(containersOf(text).map(({ imagePullPolicy }) => imagePullPolicy))).toEqual(
      new Set(['Never']),
    );
    const untouched = (all: readonly Workload[]) =>
      all.filter(
        ({ kind, metadata, spec }) =>
          spec?.template === undefined && !kind.startsWith('Mutating') && metadata.name !== 'calico-webhooks',
      );
    expect(untouched(objectsOf(text))).toEqual(untouched(objectsOf(given)));
    const images = (each: string) =>
      containersOf(each)
        .map(({ image }) => image)
        .filter((image) => !image.includes('/webhooks:'));
    expect(images(text)).toEqual(images(given));
  });
}
