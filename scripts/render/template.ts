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
