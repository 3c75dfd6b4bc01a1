import { z } from 'zod';
import { labSchema } from './schema.ts';

/** The JSON Schema of lab.yaml for editors, as the text of lab.schema.json. */
export function labJsonSchema(): string {
  const schema = z.toJSONSchema(labSchema, { io: 'input', target: 'draft-7' });
  return `${JSON.stringify({ title: 'lab.yaml', ...schema }, undefined, 2)}\n`;
}
