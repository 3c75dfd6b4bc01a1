import { type Document, isDocument, parseAllDocuments, Scalar, stringify } from 'yaml';
import { readAsset } from '../shared/files.ts';

/**
 * Fills the {{NAME}} placeholders of a text template. A line that holds nothing but a placeholder takes a value of many
 * lines, each indented like the placeholder, and disappears when the value is empty.
 * Throws on a placeholder without a value and on a value without a placeholder: both are bugs.
 */
export function fillTemplate(template: string, values: Readonly<Record<string, string>>): string {
  const used = new Set<string>();
  const lookUp = (name: string): string => {
    const value = values[name];
    if (value === undefined) throw new Error(`the template asks for {{${name}}}, which has no value`);
    used.add(name);
    return value;
  };
  const text = template
    .replace(/^([ \t]*)\{\{(\w+)\}\}\n/gm, (_, indent: string, name: string) =>
      indented(lookUp(name), indent),
    )
    .replace(/\{\{(\w+)\}\}/g, (_, name: string) => lookUp(name));
  const unused = Object.keys(values).filter((name) => !used.has(name));
  if (unused.length > 0) throw new Error(`the template has no place for ${unused.join(', ')}`);
  return text;
}

function indented(value: string, indent: string): string {
  if (value === '') return '';
  const lines = value.replace(/\n$/, '').split('\n');
  return lines.map((line) => `${line === '' ? '' : indent}${line}\n`).join('');
}

// Long scalars stay on one line: a folded key or hash cannot be searched for.
const STYLE = { lineWidth: 0 } as const;

/** The documents of a YAML file that ships with the package, with their comments. Throws on a syntax error. */
export function readYamlAsset(...parts: string[]): Document[] {
  const documents = parseAllDocuments(readAsset(...parts));
  if (!Array.isArray(documents)) throw new Error(`${parts.join('/')} holds no document`);
  return documents.filter(isDocument).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw new Error(`${parts.join('/')}: ${error.message}`);
    return document;
  });
}

/** The one document of a YAML file that ships with the package. */
export function readYamlDocument(...parts: string[]): Document {
  const [document, ...more] = readYamlAsset(...parts);
  if (document === undefined || more.length > 0) throw new Error(`${parts.join('/')} must hold one document`);
  return document;
}

/** Puts a value where the file has null. Throws where it does not: then file and code have drifted apart. */
export function fillIn(document: Document, path: readonly (string | number)[], value: unknown): void {
  if (!document.hasIn(path) || document.getIn(path) !== null) {
    throw new Error(`the template must have null at ${path.join('.')}`);
  }
  document.setIn(path, value instanceof Scalar ? value : document.createNode(value));
}

/** A string that is written as a literal block ("|"), as is right for keys and files. */
export function literal(text: string): Scalar<string> {
  const scalar = new Scalar(text);
  scalar.type = Scalar.BLOCK_LITERAL;
  return scalar;
}

/** The YAML text of a document, comments included. */
export function writeDocument(document: Document): string {
  return document.toString(STYLE);
}

/** The YAML text of many documents, comments included. */
export function writeDocuments(documents: readonly Document[]): string {
  return documents
    .map(writeDocument)
    .map((text) => text.replace(/^---\n/, ''))
    .join('---\n');
}

/** The YAML text of a value. */
export function writeValue(value: unknown): string {
  return stringify(value, STYLE);
}
