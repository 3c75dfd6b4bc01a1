import type { Executor } from '../../scripts/exec/executor.ts';
import type { RemoteMachine } from '../../scripts/exec/ssh.ts';
import { ChannelRefused } from '../../scripts/exec/ssh-connection.ts';
import type { RenderedFile } from '../../scripts/shared/files.ts';
import { recordingExecutor } from './recording-executor.ts';

/** A machine without a connection: its commands go to an executor of the test, its files are kept in memory. */
export interface FakeMachine extends RemoteMachine {
  readonly files: Map<string, RenderedFile>;
}

export function fakeMachine(
  name: string,
  executor: Executor = recordingExecutor(),
  address = '192.0.2.1',
): FakeMachine {
  const files = new Map<string, RenderedFile>();
  return {
    name,
    address,
    where: name,
    files,
    run: (argv, options) => executor.run(argv, options),
    async writeFiles(wanted) {
      const changed = wanted.filter(({ path, content }) => files.get(path)?.content !== content);
      for (const file of changed) files.set(file.path, file);
      return changed.map(({ path }) => path);
    },
    async dial() {
      throw new ChannelRefused('nothing listens on a fake machine', false);
    },
    close() {},
  };
}
