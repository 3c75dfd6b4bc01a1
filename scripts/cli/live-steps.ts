import {
  DefaultRenderer,
  Listr,
  ListrLogger,
  type ListrTaskWrapper,
  PRESET_TIMER,
  ProcessOutput,
} from 'listr2';
import type { StepResult, StepRunner, StepTitle } from '../commands/steps.ts';
import type { Emit } from '../shared/events.ts';
import { progressText } from './clock-text.ts';

type Task = ListrTaskWrapper<unknown, never, never>;

/** A step runner and the end of its display; `close` must be called once, also after a failure. */
export interface ShownSteps extends StepRunner {
  close(): Promise<void>;
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  promise.catch(() => {}); // Whoever awaits it hears of it; nobody awaiting is no crash.
  return { promise, resolve, reject };
}

/**
 * The default renderer looks at standard output only: where that is no terminal, listr2 would write other lines, and
 * there. We write to standard error, and have looked at that already.
 */
class RendererForAnyStream extends DefaultRenderer {
  static override nonTTY = true;
}

/** Steps as a live list on a terminal: every step visible from the start, elapsed times, what is being waited for. */
export function liveSteps(titles: readonly StepTitle[], stream: NodeJS.WriteStream): ShownSteps {
  const slots = new Map(
    titles.map(({ id, title }) => [id, { title, shown: deferred<Task>(), over: deferred<void>() }] as const),
  );
  const list = new Listr<unknown, typeof RendererForAnyStream>(
    [...slots.values()].map(({ title, shown, over }) => ({
      title,
      task: async (_: unknown, task: unknown) => {
        shown.resolve(task as Task);
        await over.promise;
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
  const running = list.run().catch(() => {});
  return {
    async run<T>(id: string, work: (emit: Emit) => Promise<StepResult<T>>): Promise<T> {
      const slot = slots.get(id);
      if (slot === undefined) throw new Error(`no step ${id}`);
      const task = await slot.shown.promise;
      try {
        const { value, changed } = await work((event) => {
          if (event.type === 'progress')
            task.output = progressText(event.done, event.total, event.secondsLeft);
          else task.output = event.type === 'warning' ? `warning: ${event.text}` : event.text;
        });
        if (!changed) task.title = `${slot.title} (nothing changed)`;
        slot.over.resolve();
        return value;
      } catch (error) {
        slot.over.reject(error);
        throw error;
      }
    },
    async close() {
      for (const { over } of slots.values()) over.reject(new Error('not run'));
      await running;
    },
  };
}
