import type { RenderedFile } from '../shared/files.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import type { Executor } from './executor.ts';

// Reads the files as JSON on standard input, so that no content is ever in an argv; each is replaced atomically. With
// "keep" the first version of each is kept: /var/lib/lab/originals.json says where, or null where there was none, and
// for folders that are made (with a slash at the end).
const WRITE_FILES = `
import base64, json, os, shutil, sys
job = json.load(sys.stdin)
state = "/var/lib/lab"
def keep(path):
    index = state + "/originals.json"
    known = json.load(open(index)) if os.path.exists(index) else {}
    if path in known or path.startswith(state):
        return
    backup = state + "/originals" + path if os.path.exists(path) else None
    if backup:
        os.makedirs(os.path.dirname(backup), exist_ok=True)
        shutil.copy2(path, backup)
        os.chown(backup, os.stat(path).st_uid, os.stat(path).st_gid)
    os.makedirs(state, exist_ok=True)
    folder, made = os.path.dirname(path), {}
    while not os.path.exists(folder):
        made[folder + "/"] = None
        folder = os.path.dirname(folder)
    with open(index + ".new", "w") as out:
        json.dump({**known, **made, path: backup}, out)
    os.replace(index + ".new", index)
for f in job["files"]:
    path, mode, data = f["path"], f["mode"], base64.b64decode(f["content"])
    try:
        old = open(path, "rb").read()
        same = old == data and os.stat(path).st_mode & 0o7777 == mode
    except FileNotFoundError:
        same = False
    if same:
        continue
    if job["keep"]:
        keep(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tmp = path + ".lab-new"
    fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
    if f["owner"]:
        user, _, group = f["owner"].partition(":")
        shutil.chown(tmp, user, group or None)
    os.chmod(tmp, mode)
    os.replace(tmp, path)
    print(path)
`;

/**
 * Writes files on a machine atomically; with `keep` the first version of each is kept. Returns the paths whose content or
 * mode was not as wanted.
 */
export async function writeFiles(
  run: Executor['run'],
  files: readonly RenderedFile[],
  keep: boolean,
): Promise<readonly string[]> {
  if (files.length === 0) return [];
  const wanted = files.map((file) => ({
    path: file.path,
    mode: file.mode ?? 0o644,
    owner: file.owner ?? '',
    content: Buffer.from(file.content).toString('base64'),
  }));
  const { stdout } = await run(['python3', '-I', '-S', '-c', WRITE_FILES], {
    input: JSON.stringify({ keep, files: wanted }),
    timeoutMs: TIMEOUTS.command,
  });
  return stdout.split('\n').filter((line) => line !== '');
}
