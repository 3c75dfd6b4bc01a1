import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { readAsset } from '../shared/assets.ts';
import type { RenderedFile } from '../shared/files.ts';
import type { Secrets } from '../shared/secrets.ts';
import { renderBirdConf } from './bird.ts';
import { renderCniConflist, renderNatOutgoingRules } from './cni.ts';

/** Where the announcer writes and BIRD reads the external addresses of this node. */
const SERVICES_CONF = '/etc/bird/services.conf';

/**
 * The files of the `bird` CNI on one Kubernetes node. None of them depends on the cluster being up, and none is changed
 * by the machine itself, so writing them again is safe.
 */
export function renderNodeFiles(plan: LabPlan, machine: MachinePlan, secrets: Secrets): RenderedFile[] {
  return [
    // BIRD reads it as user bird again at every "birdc configure".
    {
      path: '/etc/bird/bird.conf',
      content: renderBirdConf(plan, machine, secrets),
      mode: 0o640,
      owner: 'root:bird',
    },
    {
      path: '/etc/systemd/system/bird.service.d/10-lab.conf',
      content: readAsset('bird', 'units', 'bird.conf'),
    },
    { path: '/etc/cni/net.d/10-lab.conflist', content: renderCniConflist(machine) },
    {
      path: '/usr/lib/cni/lab-default-route',
      content: readAsset('bird', 'cni', 'lab-default-route'),
      mode: 0o755,
    },
    { path: '/etc/lab/nat-outgoing.rules', content: renderNatOutgoingRules(plan) },
    unitFile('lab-nat-outgoing.service'),
    { path: '/usr/local/lib/lab/announcer.py', content: readAsset('bird', 'announcer.py') },
    {
      path: '/usr/local/lib/lab/kube_watch.py',
      content: readAsset('images', 'cluster-dns', 'kube_watch.py'),
    },
    { path: '/etc/lab/announcer.json', content: renderAnnouncerConfig(plan, machine) },
    unitFile('lab-announcer.service'),
  ];
}

/** The announcer's configuration. It logs in to the API with the certificate that kubelet renews. */
export function renderAnnouncerConfig(plan: LabPlan, machine: MachinePlan): string {
  const config = {
    nodeName: machine.name,
    apiServer: `https://${plan.kubernetes.apiServer}`,
    ca: '/etc/kubernetes/pki/ca.crt',
    cert: '/var/lib/kubelet/pki/kubelet-client-current.pem',
    externalCidrs: plan.bgp.externalPrefixes,
    output: SERVICES_CONF,
    reload: ['birdc', 'configure'],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

function unitFile(name: string): RenderedFile {
  return { path: `/etc/systemd/system/${name}`, content: readAsset('bird', 'units', name) };
}
