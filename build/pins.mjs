// Compares versions.yaml with what the publishers say, and prints what would change; needs a network.
//   npm run pins                                    newer releases, and sums that are missing or differ
//   npm run pins -- --set calico=v3.33.1 [--write]  the same of another version; --write writes it, with its sums
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  addSums,
  COMPONENTS,
  movePin,
  newerReleases,
  publishedSums,
  UNKNOWN_SUM,
} from '../dist/bench/build/pins.js';
import { httpsClient } from '../dist/bench/scripts/artifacts/online/https.js';

const { values } = parseArgs({
  options: { set: { type: 'string', multiple: true, default: [] }, write: { type: 'boolean' } },
});
let text = readFileSync('versions.yaml', 'utf8');
for (const each of values.set) {
  const [name, version] = each.split('=');
  if (!COMPONENTS.includes(name) || version === undefined)
    throw new Error(`--set ${each}: write COMPONENT=VERSION, with one of ${COMPONENTS.join(', ')}`);
  text = movePin(text, name, version);
}

const client = httpsClient();
const { signal } = new AbortController();
const say = (line) => process.stdout.write(`${line}\n`);
const releases = await newerReleases(text, client, signal).catch((error) => {
  process.stderr.write(
    [`error: ${error.message}`, ...(error.details ?? []).map((each) => `  ${each}`), ''].join('\n'),
  );
  if (error.next !== undefined) process.stderr.write(`next: ${error.next}\n`);
  process.exit(2);
});
for (const { name, version, newer, problem } of releases)
  say(`${name} ${version}: ${problem ?? (newer.length === 0 ? 'the newest' : `newer: ${newer.join(', ')}`)}`);

const sums = await publishedSums(text, client, signal);
for (const { what, pinned, published, problem } of sums) {
  if (problem !== undefined) say(`${what}: ${problem}`);
  else if (pinned === undefined) say(`${what}: no sum here; its publisher says ${published}`);
  else if (pinned !== published) say(`${what}: DIFFERS: here ${pinned}, its publisher says ${published}`);
}
await client.close();

const differs = sums.filter(({ pinned, published }) => pinned && published && pinned !== published).length;
const unknown = [...releases, ...sums].filter(({ problem }) => problem !== undefined).length;
say(`${sums.length} sums: ${differs} differ; ${unknown} questions without an answer`);
const written = addSums(text, sums);
if (values.write && differs > 0)
  say('nothing is written: why a file changed under its version has to be found out first');
else if (values.write && written.includes(UNKNOWN_SUM))
  say('nothing is written: not every sum of the new version could be asked for');
else if (values.write) writeFileSync('versions.yaml', written);
process.exitCode = differs + unknown > 0 ? 1 : 0;
