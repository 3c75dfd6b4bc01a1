import { X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import { expectPass, type Workplace } from './support.ts';

// What kubeadm and kubelet have left on a node, without what pods bring and with dates left out.
const LOOK = `
cd /
find etc/kubernetes var/lib/kubelet -maxdepth 2 -not -path 'var/lib/kubelet/p[ol]*/*' -not -name 'lab-*' -printf '%M %u:%g %p -> %l\\n' |
  sed -E 's/client-[0-9-]{19}/client-DATE/g' | sort -k 3
cat etc/kubernetes/kubelet.conf etc/kubernetes/pki/ca.crt var/lib/kubelet/kubeadm-flags.env var/lib/kubelet/config.yaml
tr '\\0' ' ' < "/proc/$(systemctl show --property MainPID --value kubelet)/cmdline"
systemctl is-enabled containerd kubelet
`;
const PEM = '/var/lib/kubelet/pki/kubelet-client-current.pem';

/** Everything by which two ways to make a node could be told from one another. */
async function lookAt(place: Workplace, name: string) {
  const files = await place.exec(name, 'sh', '-c', LOOK);
  const { stdout: pem } = await place.exec(name, 'cat', PEM);
  const object = await place.kubectl('get', 'node', name, '-o', 'json');
  for (const ended of [files, object]) expectPass(ended);
  const { metadata, spec } = JSON.parse(object.stdout) as {
    metadata: Record<string, unknown>;
    spec: unknown;
  };
  const { subject, issuer, keyUsage, ca, publicKey } = new X509Certificate(pem);
  const { labels, annotations } = metadata;
  return {
    files: files.stdout.split('\n'),
    certificate: { subject, issuer, keyUsage, ca, key: publicKey.asymmetricKeyDetails },
    labels,
    annotations,
    spec,
  };
}

/** A worker whose credentials were made beforehand is the node that `kubeadm join` makes of the same machine. */
export function proveJoinedNode(place: Workplace, name: string): void {
  it('a worker that was started beside the control plane is what kubeadm join makes', async () => {
    const started = await lookAt(place, name);
    // One that is half-made, for all that labup knows; what is there now gets its node by joining.
    expectPass(await place.exec(name, 'rm', '/etc/kubernetes/lab-done'));
    const again = await place.run('labup');
    expectPass(again);
    expect(again.stderr).toContain(`${name}: [preflight]`);
    expect(started).toEqual(await lookAt(place, name));
  });
}
