/** docs/cli.md, docs/lab-yaml.md and docs/scenarios.md are made from the code; `npx vitest run --project fast test/docs -u` writes them. */
import { expect, it } from 'vitest';
import type { Handlers } from '../../scripts/cli/handlers.ts';
import { program } from '../../scripts/cli/program.ts';
import { SCENARIOS } from '../../scripts/scenarios/catalogue.ts';
import { labJsonSchema } from '../../scripts/spec/schema.ts';
import { cliReference, type Schema, scenarioReference, specReference } from './reference.ts';

it('docs/cli.md is what the commands say of themselves', async () => {
  const bins = (['labup', 'labtest', 'labdown', 'lab'] as const).map((name) =>
    program(name, {} as Handlers, {}),
  );
  await expect(cliReference(bins)).toMatchFileSnapshot('../../docs/cli.md');
});

it('docs/lab-yaml.md is what the schema says', async () => {
  await expect(specReference(JSON.parse(labJsonSchema()) as Schema)).toMatchFileSnapshot(
    '../../docs/lab-yaml.md',
  );
});

it('docs/scenarios.md lists the scenarios', async () => {
  await expect(scenarioReference(SCENARIOS)).toMatchFileSnapshot('../../docs/scenarios.md');
});
