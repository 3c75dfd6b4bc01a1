import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { assetPath } from '../shared/files.ts';

export type RecipeId =
  | 'kubernetes'
  | 'container-layers'
  | 'machine-root'
  | 'container-images'
  | 'echo-image'
  | 'machine-image'
  | 'machine-base'
  | 'machine-node';

/** What a recipe's build function works with. */
export interface BuildContext {
  /** An empty folder for what is not kept. */
  readonly work: string;
  /** An empty folder: what lies here in the end is the artifact. */
  readonly out: string;
  /** The finished folder of a recipe that this one needs, as soon as that is made. */
  readonly outputOf: (id: RecipeId) => Promise<string>;
  /** Runs a shell script of images/ in a mount namespace of its own, its output going to the build's log. */
  readonly script: (path: string, ...args: readonly string[]) => Promise<void>;
  /** Runs a command, its output going to the build's log. */
  readonly run: (argv: readonly string[]) => Promise<void>;
  /** A sources.list file for this build, and mmdebstrap's options for the proxies to the mirror. */
  readonly sources: string;
  readonly mmdebstrapOptions: readonly string[];
  readonly parameters: Readonly<Record<string, string>>;
}

/** How one artifact is made: data, whose hash is the artifact's name in the cache, and a function. */
export interface Recipe {
  readonly id: RecipeId;
  /** In words, for progress and messages. */
  readonly title: string;
  /** To be raised when `build` or what it calls changes what comes out: code is not part of the hash. */
  readonly revision: number;
  /** The build begins when the first of them is made, and waits for the others where it asks for their output. */
  readonly needs: readonly RecipeId[];
  /** Files and folders of the package that go into it. */
  readonly assets: readonly string[];
  readonly parameters: Readonly<Record<string, string>>;
  /** How long it takes alone on two cores, in seconds, and how many lines its log then has: both measured. */
  readonly seconds: number;
  readonly lines: number;
  readonly build: (context: BuildContext) => Promise<void>;
}

/** One file that goes into an artifact. */
export interface AssetFile {
  /** Path below the package's root. */
  readonly name: string;
  readonly content: Buffer;
}

/** The files below some paths of the package, sorted by name. What Python leaves behind is no input. */
export function assetFiles(
  paths: readonly string[],
  rootOf: (path: string) => string = assetPath,
): AssetFile[] {
  const files: AssetFile[] = [];
  const visit = (name: string): void => {
    const path = rootOf(name);
    if (!statSync(path).isDirectory()) {
      files.push({ name, content: readFileSync(path) });
      return;
    }
    for (const entry of readdirSync(path)) {
      if (entry !== '__pycache__') visit(join(name, entry));
    }
  };
  for (const path of paths) visit(path);
  return files.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A recipe's key: 64 hex digits over everything that determines the artifact. `keys` holds those of what it needs. */
export function recipeKey(
  recipe: Recipe,
  files: readonly AssetFile[],
  keys: ReadonlyMap<RecipeId, string>,
): string {
  const hash = createHash('sha256');
  const { id, revision, needs, parameters } = recipe;
  const sorted = Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1));
  const needed = needs.map((need) => {
    const key = keys.get(need);
    if (key === undefined) throw new Error(`recipe ${id} comes before ${need}, which it needs`);
    return [need, key];
  });
  // JSON keeps every boundary; a file's content is hashed on its own, so that no content can look like a name.
  const contents = files.map(({ name, content }) => [
    name,
    createHash('sha256').update(content).digest('hex'),
  ]);
  hash.update(JSON.stringify({ id, revision, parameters: sorted, needs: needed, files: contents }));
  return hash.digest('hex');
}
