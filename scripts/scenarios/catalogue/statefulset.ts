import { ECHO_IMAGE, TOOLBOX_IMAGE } from '../../shared/versions.ts';
import { answers } from '../answers.ts';
import { endpoints, holds, pods, prints } from '../expect.ts';
import { addressesOf, fullName, resolves, srvOf } from '../names.ts';
import type { Scenario } from '../scenario.ts';
import { after, inNamespace, podIp, podsOf, readyPods, word } from '../words.ts';

const STATE = 'app=webstate';
const { kubectl, inPod, apply } = inNamespace('lab-statefulset', 'statefulset');
const service = fullName('webstate', 'lab-statefulset');
const addresses = addressesOf(STATE);
const askOne = inPod('client', 'nc', '-N', '-w', '3', 'webstate-1.webstate', '1234');
const three = ['webstate-0', 'webstate-1', 'webstate-2'];
const addressOfOne = podIp('webstate-1');

/** S8: pods with names that stay. */
export const statefulset: Scenario = {
  name: 'statefulset',
  title: 'StatefulSet',
  lesson:
    'A StatefulSet gives its pods names that stay, and a headless service gives each name an address. The name outlives the address.',
  namespaces: ['lab-statefulset'],
  needs: [{ image: ECHO_IMAGE }, { image: TOOLBOX_IMAGE }],
  steps: [
    {
      id: 'apply',
      change: apply('webstate.yaml'),
      expect: [pods(STATE, { ready: 1, names: ['webstate-0'] }), pods('client', { ready: 1 })],
      why: 'The pod is called after the StatefulSet and a number that begins at 0, with nothing by chance in it.',
    },
    {
      id: 'scale-up',
      change: kubectl('scale', 'statefulset', 'webstate', '--replicas=3'),
      expect: [pods(STATE, { ready: 3, names: three }), endpoints('webstate', readyPods(STATE))],
      why: 'More replicas get the next numbers.',
    },
    {
      id: 'in-order',
      look: kubectl(
        'get',
        'pods',
        '-l',
        STATE,
        '-o',
        'custom-columns=NAME:.metadata.name,CREATED:.metadata.creationTimestamp,READY:.status.conditions[?(@.type=="Ready")].lastTransitionTime',
      ),
      expect: prints('each pod was made when the one before was Ready', timesOf, (rows) => {
        const late = rows.filter(({ created }, n) => n > 0 && created < (rows[n - 1]?.ready ?? ''));
        return {
          right: rows.length === 3 && late.length === 0,
          seen: (late.length > 0 ? late : rows)
            .map(({ name, created }) => `${name} made ${created}`)
            .join(', '),
        };
      }),
      why: 'They come one after another, so that each can rely on the ones before it, as databases do.',
    },
    {
      id: 'addresses',
      look: inPod('client', 'dig', service, 'A'),
      expect: resolves('A', addresses),
      show: /\tA\t/,
      why: 'A headless service has no address of its own: its name stands for all pods that are Ready.',
    },
    {
      id: 'srv',
      look: inPod('client', 'dig', service, 'SRV'),
      expect: resolves('SRV', srvOf('webstate', 'lab-statefulset', 'name')),
      show: /\tSRV\t/,
      why: 'SRV records name the pods and the port; a client that reads them needs no list of its own. Three share 100: 33 each.',
    },
    {
      id: 'one-by-name',
      look: askOne,
      expect: answers({ by: podsOf('webstate-1'), client: podIp('client') }),
      show: /^(Server|Client):/,
      why: 'One chosen pod is reached by its own name, as a client of a primary wants it.',
    },
    {
      id: 'delete-one',
      change: kubectl('delete', 'pod', 'webstate-1', '--force', '--grace-period=0'),
      expect: [
        holds('webstate-1 is there again, with another address', (facts) => {
          const [before, now] = [after('scale-up', addressOfOne).of(facts), addressOfOne.of(facts)];
          return { right: before !== now, seen: `${before} before, ${now} now` };
        }),
        pods(STATE, { ready: 3, names: three }),
      ],
      why: 'The StatefulSet fills the gap: the same name, a new pod, a new address. A volume would come back as well.',
    },
    {
      id: 'new-address',
      look: inPod('client', 'dig', word`webstate-1.${service}`, 'A'),
      expect: resolves('A', addressOfOne),
      show: /\tA\t/,
      why: 'The record follows the pod.',
    },
    {
      id: 'same-name',
      look: askOne,
      expect: answers({ by: podsOf('webstate-1'), client: podIp('client') }),
      show: /^(Server|Client):/,
      why: 'Whoever uses the name notices nothing but a new connection.',
    },
    {
      id: 'scale-down',
      change: kubectl('scale', 'statefulset', 'webstate', '--replicas=1'),
      expect: [pods(STATE, { ready: 1, names: ['webstate-0'] }), endpoints('webstate', readyPods(STATE))],
      why: 'They go in reverse order, so the first one stays.',
    },
  ],
};

/** The rows of the columns NAME, CREATED and READY, in the order of the names. */
function timesOf(stdout: string): readonly { name: string; created: string; ready: string }[] {
  const rows = stdout.trim().split('\n').slice(1);
  return rows
    .map((row) => row.trim().split(/\s+/))
    .map(([name = '', created = '', ready = '']) => ({ name, created, ready }))
    .sort((a, b) => a.name.localeCompare(b.name));
}
