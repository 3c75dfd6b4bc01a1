// Writes lab.schema.json from the schema that lab.yaml is checked with: npm run build && node build/schema.mjs
import { writeFileSync } from 'node:fs';
import { labJsonSchema } from '../dist/scripts/schema.js';

writeFileSync('lab.schema.json', labJsonSchema());
