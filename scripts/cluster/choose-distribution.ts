import type { LabPlan } from '../plan/types.ts';
import type { Distribution } from './distribution.ts';
import { k3sDistribution } from './k3s.ts';
import { kubeadmDistribution } from './kubeadm.ts';

/** The distribution that the plan has chosen. */
export function distributionOf({ choices }: Pick<LabPlan, 'choices'>): Distribution {
  return choices.distribution.value === 'k3s' ? k3sDistribution : kubeadmDistribution;
}
