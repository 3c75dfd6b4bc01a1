/** An API path inside the double's project. */
export function inProject(project: string, path: string, query = ''): string {
  return `${path}?project=${encodeURIComponent(project)}${query === '' ? '' : `&${query}`}`;
}
