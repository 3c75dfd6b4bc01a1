import { UserError } from '../shared/errors.ts';
import { type LabReport, reportSchema } from './json.ts';

const MAX_PROBLEMS = 5;

/**
 * A report from the text of a JSON file. `name` is what messages call the file. Throws UserError that says what is
 * wrong with it and where.
 */
export function parseReport(text: string, name: string): LabReport {
  const refuse = (what: string, details: readonly string[] = []) =>
    new UserError(`${name} is not a report of labtest: ${what}.`, {
      details,
      next: 'npx labtest --json > report.json',
    });
  const value = parseJson(text, (message) => refuse(message));
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw refuse('it does not hold one JSON object');
  const version: unknown = Reflect.get(value, 'schemaVersion');
  if (version === undefined) throw refuse('it has no schemaVersion');
  if (version !== 2) throw refuse(`its schemaVersion is ${JSON.stringify(version)}, and only 2 is known`);
  const parsed = reportSchema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path, message }) => `${path.join('.') || 'report'}: ${message}`,
    );
    const more = problems.length - MAX_PROBLEMS;
    throw refuse(`${problems.length === 1 ? 'a field is' : `${problems.length} fields are`} wrong`, [
      ...problems.slice(0, MAX_PROBLEMS),
      ...(more > 0 ? [`and ${more} more`] : []),
    ]);
  }
  const ids = parsed.data.cells.map(({ id }) => id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw refuse(`the cell ${twice} is in it twice`);
  return parsed.data;
}

function parseJson(text: string, refuse: (message: string) => UserError): unknown {
  if (text.trim() === '') throw refuse('it is empty');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw refuse(`it is not JSON (${error instanceof Error ? error.message : String(error)})`);
  }
}
