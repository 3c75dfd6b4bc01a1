import { describe, expect, it } from 'vitest';
import { fails } from '../../scripts/scenarios/answers.ts';
import { holds, succeeds } from '../../scripts/scenarios/expect.ts';
import { scenarioJson, scenarioJunit, scenarioMarkdown } from '../../scripts/scenarios/report/files.ts';
import { scenarioHtml } from '../../scripts/scenarios/report/html.ts';
import { runScenario, type Stage, shownCommand } from '../../scripts/scenarios/run.ts';
import { NotThere, type Scenario, type Step, type Typed } from '../../scripts/scenarios/scenario.ts';
import { undoOf } from '../../scripts/scenarios/undo.ts';
import {
  addressOf,
  after,
  clusterIp,
  inNamespace,
  on,
  outsider,
  podsOf,
  router,
  word,
  worker,
} from '../../scripts/scenarios/words.ts';
import type { Action } from '../../scripts/selftest/fault.ts';
import { HarnessError } from '../../scripts/shared/errors.ts';
import { assetPath } from '../../scripts/shared/files.ts';
import { labPlan } from '../render/fixture.ts';
import { factsOf, pod, service } from './facts.ts';

const { kubectl, apply } = inNamespace('lab-test', 'replicas');

/** A stage on which each command prints what `says` returns for it, and the API says what `pods` returns at that time. */
function stageOf(options: {
  readonly says?: (action: Action, times: number) => { exitCode?: number; stdout?: string; stderr?: string };
  readonly pods?: (typed: readonly string[]) => ReturnType<typeof pod>[];
}) {
  const typed: string[] = [];
  const stage: Stage = {
    cwd: assetPath(),
    type: async (action) => {
      typed.push(`${action.on}: ${action.argv.join(' ')}`);
      const said = options.says?.(action, typed.length) ?? {};
      return { exitCode: 0, stdout: '', stderr: '', ...said };
    },
    facts: async () => factsOf({ pods: options.pods?.(typed) ?? [], services: [service('web', [])] }),
    watch: async (_, __, look) => {
      for (let turn = 1; ; turn += 1) {
        const { done, value } = await look();
        if (done || turn === 5) return value;
      }
    },
  };
  return { stage, typed };
}

const audience = { after: () => {} };
const scenarioOf = (...steps: Step[]): Scenario => ({
  name: 'test',
  title: 'A test',
  lesson: 'None.',
  namespaces: ['lab-test'],
  steps,
});
const step = (
  id: string,
  more: Pick<Step, 'expect'> & ({ readonly change: Typed } | { readonly look: Typed }),
): Step => ({
  id,
  why: 'So it is.',
  ...more,
});
describe('a step', () => {
  it('that changes something is typed once, however often is looked', async () => {
    const ready = holds('two', ({ pods }) => ({ right: pods.length === 2, seen: `${pods.length}` }));
    let looks = 0;
    const { stage, typed } = stageOf({
      pods: () => {
        looks += 1;
        return looks < 4 ? [pod('a')] : [pod('a'), pod('b')];
      },
    });
    const result = await runScenario(
      scenarioOf(step('scale', { change: kubectl('scale'), expect: ready })),
      stage,
      audience,
    );
    expect(result.verdict).toBe('passed');
    expect(typed).toEqual(['kubectl: -n lab-test scale']);
  });

  it('that looks is typed until it sees what it must', async () => {
    const { stage, typed } = stageOf({ says: (_, times) => ({ exitCode: times < 3 ? 1 : 0 }) });
    const look = step('look', { look: on(worker(0), 'true'), expect: succeeds });
    expect((await runScenario(scenarioOf(look), stage, audience)).verdict).toBe('passed');
    expect(typed).toHaveLength(3);
  });

  it('says what was wanted and seen where it fails, and what follows is not run', async () => {
    const { stage } = stageOf({ says: () => ({ exitCode: 7, stderr: 'Connection refused' }) });
    const { verdict, steps } = await runScenario(
      scenarioOf(
        step('ask', { look: on('bgp', 'curl', word`http://${clusterIp('web')}/`), expect: fails('timeout') }),
        step('later', { look: kubectl('get'), expect: succeeds }),
      ),
      stage,
      audience,
    );
    expect(verdict).toBe('failed');
    expect(steps).toMatchObject([
      {
        command: 'npx lab exec bgp -- curl http://10.96.0.9/',
        findings: [{ right: false, wanted: 'no answer: timeout', seen: 'refused' }],
      },
      { verdict: 'not run', command: 'npx lab kubectl -n lab-test get' },
    ]);
  });

  it('waits for a value that is not there yet, and names it where it never comes', async () => {
    const { stage, typed } = stageOf({});
    const ask = step('ask', { look: on('bgp', 'curl', clusterIp('other')), expect: succeeds });
    const { steps } = await runScenario(scenarioOf(ask), stage, audience);
    expect(steps[0]?.findings).toEqual([
      { right: false, wanted: 'it ends well', seen: 'there is no service other' },
    ]);
    expect(typed).toEqual([]);
  });

  it('that cannot be tried is no failure of the lab', async () => {
    const { stage } = stageOf({
      says: () => {
        throw new HarnessError('There is no connection to bgp.');
      },
    });
    const { verdict, steps } = await runScenario(
      scenarioOf(step('a', { look: on('bgp', 'true'), expect: succeeds })),
      stage,
      audience,
    );
    expect([verdict, steps[0]?.findings[0]?.seen]).toEqual(['harness', 'There is no connection to bgp.']);
  });

  it('knows what was there after an earlier one', async () => {
    const { stage } = stageOf({ pods: (typed) => [pod(typed.length < 2 ? 'old' : 'new')] });
    const names = (all: readonly { readonly name: string }[]) => all.map(({ name }) => name).join();
    const { verdict } = await runScenario(
      scenarioOf(
        step('first', { change: kubectl('create'), expect: succeeds }),
        step('second', {
          change: kubectl('replace'),
          expect: holds('another', (facts) => {
            const [before, now] = [after('first', podsOf('old')).of(facts), facts.pods];
            return { right: names(before) === 'old' && names(now) === 'new', seen: names(now) };
          }),
        }),
      ),
      stage,
      audience,
    );
    expect(verdict).toBe('passed');
  });
});

it('a command is shown as it is typed in the folder of the user', () => {
  expect(shownCommand(apply('web.yaml'), assetPath())).toBe(
    'npx lab kubectl apply -f manifests/scenarios/replicas/web.yaml',
  );
  expect(shownCommand(on(worker(1), 'curl', word`http://${clusterIp('web')}/`), '/')).toBe(
    'npx lab exec <worker 2> -- curl http://<the ClusterIP of web>/',
  );
});

it('what undoes a scenario is known from the plan alone', () => {
  const namespaces = ['lab-test'];
  const undo = [{ ...on(outsider, 'cat', addressOf(router)), input: word`of ${router}` }];
  expect(undoOf(labPlan(), { namespaces, undo })[0]).toEqual({
    on: 'ubuntu',
    argv: ['cat', '192.168.13.39'],
    input: 'of bgp',
  });
  expect(() => undoOf(labPlan(), { namespaces, undo: [on('bgp', clusterIp('web'))] })).toThrow(NotThere);
});

describe('what is written of a run', () => {
  const run = async () => {
    const { stage } = stageOf({ says: () => ({ exitCode: 1, stderr: 'a <b> & c' }) });
    const result = await runScenario(
      scenarioOf(step('ask', { look: on('bgp', 'true'), expect: succeeds })),
      stage,
      audience,
    );
    const skipped = {
      ...result,
      name: 'no',
      verdict: 'skipped',
      reason: 'no image',
      next: 'labup',
      steps: [],
    } as const;
    return { lab: 'bgp-lab', startedAt: new Date(0), durationMs: 1500, scenarios: [result, skipped] };
  };

  it('counts in JSON', async () => {
    expect(scenarioJson(await run())).toMatchObject({
      summary: { planned: 2, passed: 0, failed: 1, harness: 0, skipped: 1 },
    });
  });

  it('is red in JUnit', async () => {
    expect(scenarioJunit(await run())).toContain('failures="1"');
  });

  it('is escaped in HTML, which fetches nothing', async () => {
    const page = scenarioHtml(await run());
    expect(page).toContain('a &lt;b&gt; &amp; c');
    expect(page).not.toMatch(/<script|src=|href="http/);
    expect(page).toContain("default-src 'none'");
  });

  it('is a write-up in Markdown', async () => {
    const text = scenarioMarkdown(await run());
    expect(text).toContain('$ npx lab exec bgp -- true');
    expect(text).toContain('- ✗ wanted: it ends well; seen: exit code 1');
    expect(text).toContain('Skipped: no image. Next: `labup`');
  });
});
