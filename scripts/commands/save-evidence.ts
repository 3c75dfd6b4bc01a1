import type { LabState } from './state.ts';

const FOLDER = 'reports/evidence';

/** Keeps what was seen of one red cell in the state folder, and returns the file's path. */
export async function saveEvidence(state: LabState, name: string, content: string): Promise<string> {
  await state.create();
  await state.write(`${FOLDER}/${name}`, content);
  return state.path(FOLDER, name);
}
