/** Names of what the driver makes: one project, pool and image per lab; the bridge's name comes from the plan. */
export const projectOf = (lab: string): string => lab;
export const poolOf = (lab: string): string => lab;

/** An API path inside the lab's project. */
export function inProject(lab: string, path: string, query = ''): string {
  const more = query === '' ? '' : `&${query}`;
  return `${path}?project=${encodeURIComponent(projectOf(lab))}${more}`;
}
