/** A file as it has to be on a machine. */
export interface RenderedFile {
  readonly path: string;
  readonly content: string;
  /** Octal mode, default 0o644. */
  readonly mode?: number;
  /** "user:group", default root:root. */
  readonly owner?: string;
}
