import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, lstat, mkdir, readdir, readlink, stat, symlink } from 'node:fs/promises';
import type { Files } from './backend.ts';

/** Files of this host; `place` says where a path lies. */
export function localFiles(place: (path: string) => string): Files {
  return {
    async stat(path, follow = false) {
      const found = await (follow ? stat : lstat)(place(path)).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
        throw error;
      });
      if (found === undefined) return undefined;
      const kind = found.isSymbolicLink() ? 'link' : found.isDirectory() ? 'folder' : 'file';
      return { kind, mode: found.mode & 0o7777 };
    },
    list: (folder) => readdir(place(folder)),
    read: (path) => createReadStream(place(path)),
    write: (path) => createWriteStream(place(path)),
    makeFolder: async (path) => {
      await mkdir(place(path));
    },
    readLink: (path) => readlink(place(path)),
    link: (target, path) => symlink(target, place(path)),
    setMode: (path, mode) => chmod(place(path), mode),
  };
}
