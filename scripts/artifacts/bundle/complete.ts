import type { FileRole } from '../../plan/software.ts';
import { kubernetesMinor } from '../../shared/versions.ts';
import type { BundleManifest } from './manifest.ts';

/** What a bundle must hold to make a lab. */
interface Need {
  readonly what: string;
  /** One of these sets of roles must be complete. */
  readonly oneOf: readonly (readonly FileRole[])[];
}

const IMAGES: Need = { what: 'container images', oneOf: [['image-archive']] };

const DISTRIBUTION: Readonly<Record<BundleManifest['distribution'], readonly Need[]>> = {
  // k3s has containerd, runc and kubectl in it.
  k3s: [{ what: 'the k3s binary', oneOf: [['k3s']] }, IMAGES],
  kubeadm: [
    { what: 'kubelet and kubeadm', oneOf: [['kubelet', 'kubeadm'], ['deb']] },
    { what: 'kubectl, for the host that runs labup', oneOf: [['kubectl']] },
    IMAGES,
  ],
};

/** From the Kubernetes minor on that speaks to containerd 2 only, which Debian 12 does not have. */
const CONTAINERD_2_MINOR = 36;
const CONTAINERD_2: readonly Need[] = [
  { what: 'containerd 2', oneOf: [['containerd']] },
  { what: 'runc, of the age of containerd 2', oneOf: [['runc']] },
  { what: 'the CNI plugins', oneOf: [['cni-plugins'], ['deb']] },
];

const CNI: Readonly<Record<BundleManifest['cni'], readonly Need[]>> = {
  calico: [{ what: "Calico's manifests", oneOf: [['calico-crds', 'calico-operator'], ['calico-manifest']] }],
  // BIRD itself is a Debian package of the machines.
  bird: [],
};

/** The roles of files that are missing for a lab, one line each. Pure. */
export function incomplete(manifest: BundleManifest): readonly string[] {
  const { distribution, cni, versions, files } = manifest;
  const has = new Set(files.map(({ role }) => role));
  const isNew = distribution === 'kubeadm' && kubernetesMinor(versions.kubernetes) >= CONTAINERD_2_MINOR;
  const needs = [...DISTRIBUTION[distribution], ...(isNew ? CONTAINERD_2 : []), ...CNI[cni]];
  const missing = needs
    .filter(({ oneOf }) => !oneOf.some((roles) => roles.every((role) => has.has(role))))
    .map(
      ({ what, oneOf }) =>
        `${what}: no file with role ${oneOf.map((roles) => roles.join(' and ')).join(', or ')}`,
    );
  const [metadata, rootfs] = [has.has('machine-metadata'), has.has('machine-rootfs')];
  return metadata === rootfs
    ? missing
    : [...missing, `half a machine image: only machine-${metadata ? 'metadata' : 'rootfs'} is there`];
}
