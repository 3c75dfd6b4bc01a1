import type { FileRole } from '../../plan/software.ts';
import type { BundleManifest } from './manifest.ts';

/** What a bundle must hold to make a lab. */
interface Need {
  readonly what: string;
  /** One of these sets of roles must be there whole. */
  readonly oneOf: readonly (readonly FileRole[])[];
}

const IMAGES: Need = { what: 'container images', oneOf: [['image-archive']] };

const DISTRIBUTION: Readonly<Record<BundleManifest['distribution'], readonly Need[]>> = {
  k3s: [{ what: 'the k3s binary', oneOf: [['k3s']] }, IMAGES],
  kubeadm: [{ what: 'kubelet and kubeadm', oneOf: [['kubelet', 'kubeadm'], ['deb']] }, IMAGES],
};

const CNI: Readonly<Record<BundleManifest['cni'], readonly Need[]>> = {
  calico: [{ what: "Calico's manifests", oneOf: [['calico-crds', 'calico-operator'], ['calico-manifest']] }],
  // BIRD itself is a Debian package of the machines.
  bird: [],
};

/** What is missing for a lab, one line each; empty for a whole bundle. Pure. */
export function incomplete(manifest: BundleManifest): readonly string[] {
  const { distribution, cni, files } = manifest;
  const has = new Set(files.map(({ role }) => role));
  const needs = [...DISTRIBUTION[distribution], ...CNI[cni]];
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
