/** The name of a lab's project. */
export const projectOf = (lab: string): string => lab;

/** The name of a lab's storage pool. The bridge's name comes from the plan. */
export const poolOf = (lab: string): string => lab;

/** An API path inside the lab's project. */
export function inProject(lab: string, path: string, query = ''): string {
  const more = query === '' ? '' : `&${query}`;
  return `${path}?project=${encodeURIComponent(projectOf(lab))}${more}`;
}
