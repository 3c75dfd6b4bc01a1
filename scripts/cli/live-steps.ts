import { DefaultRenderer, Listr, ListrLogger, PRESET_TIMER, ProcessOutput } from 'listr2';
import type { ReadyStep } from '../commands/steps.ts';
import { eventText } from './plain-steps.ts';

/**
 * The default renderer looks at standard output only: where that is no terminal, listr2 would write other lines, and
 * there. We write to standard error, and have looked at that already.
 */
class RendererForAnyStream extends DefaultRenderer {
  static override nonTTY = true;
}

/** Runs steps as a live list on a terminal: every step visible from the start, elapsed times, what is being waited for. */
export async function liveSteps(steps: readonly ReadyStep[], stream: NodeJS.WriteStream): Promise<void> {
  const list = new Listr<unknown, typeof RendererForAnyStream>(
    steps.map(({ title, run }) => ({
      title,
      task: async (_, task) => {
        const changed = await run((event) => {
          task.output = eventText(event);
        });
        if (!changed) task.title = `${title} (nothing changed)`;
      },
    })),
    {
      renderer: RendererForAnyStream,
      concurrent: false,
      exitOnError: true,
      registerSignalListeners: false, // listr2 would end the process itself with 127.
      rendererOptions: {
        timer: PRESET_TIMER,
        collapseErrors: true,
        showErrorMessage: false,
        logger: new ListrLogger({ processOutput: new ProcessOutput(stream, stream) }),
      },
    },
  );
  await list.run();
}
