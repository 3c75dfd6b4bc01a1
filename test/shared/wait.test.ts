import { describe, expect, it } from 'vitest';
import { CommandError } from '../../scripts/exec/executor.ts';
import { Interrupted, LabFailure } from '../../scripts/shared/errors.ts';
import type { LabEvent } from '../../scripts/shared/events.ts';
import { type Look, waitFor } from '../../scripts/shared/wait.ts';

const no = (why: string): Look<string> => ({ done: false, why });

/** Looks that find what the list says, the last of it for ever. */
function looks(...results: (Look<string> | Error)[]): {
  look: () => Promise<Look<string>>;
  count: () => number;
} {
  let count = 0;
  return {
    count: () => count,
    look: async () => {
      const result = results[Math.min(count, results.length - 1)] ?? no('nothing');
      count += 1;
      if (result instanceof Error) throw result;
      return result;
    },
  };
}

const wait = { what: 'the moon to rise', timeoutMs: 1_000, pollMs: 1 };

describe('waitFor', () => {
  it('returns at once what is there already', async () => {
    const { look, count } = looks({ done: true, value: 'moon' });
    expect(await waitFor({ ...wait, look, timeoutMs: 0 })).toBe('moon');
    expect(count()).toBe(1);
  });

  it('looks again until it is, also after a look that failed', async () => {
    const { look, count } = looks(no('cloudy'), new Error('no telescope'), { done: true, value: 'moon' });
    expect(await waitFor({ ...wait, look })).toBe('moon');
    expect(count()).toBe(3);
  });

  it('tells each reason once', async () => {
    const events: LabEvent[] = [];
    const { look } = looks(no('cloudy'), no('cloudy'), no('day'), no('cloudy'), { done: true, value: '' });
    await waitFor({ ...wait, look, emit: (event) => events.push(event) });
    expect(events).toEqual(
      ['cloudy', 'day', 'cloudy'].map((why) => ({
        type: 'note',
        text: `waiting for the moon to rise: ${why}`,
      })),
    );
  });

  it('fails when the time is up, with the last reason and what to do', async () => {
    const { look } = looks(no('cloudy'), new Error('no telescope'));
    const error = await waitFor({ ...wait, look, timeoutMs: 30, next: 'buy one' }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(LabFailure);
    expect(error).toMatchObject({
      message: 'Timed out after 0 s waiting for the moon to rise (last seen: no telescope).',
      details: [],
      next: 'buy one',
      exitCode: 1,
    });
  });

  it('fails with all that a look said that failed, such as the words of a command', async () => {
    const failed = new CommandError('this host', ['kubectl'], { exitCode: 1, stdout: '', stderr: 'refused' });
    await expect(waitFor({ ...wait, look: looks(failed).look, timeoutMs: 0 })).rejects.toMatchObject({
      message:
        'Timed out after 0 s waiting for the moon to rise (last seen: kubectl failed on this host (exit code 1)).',
      details: ['command: kubectl', 'refused'],
    });
  });

  it('does not sleep beyond its time', async () => {
    const started = performance.now();
    await expect(
      waitFor({ ...wait, look: looks(no('x')).look, timeoutMs: 50, pollMs: 10_000 }),
    ).rejects.toThrow('waiting for the moon to rise (last seen: x).');
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  it('ends with a look that Ctrl-C ended, without a signal of its own', async () => {
    const { look, count } = looks(new Interrupted());
    await expect(waitFor({ ...wait, look, timeoutMs: 60_000 })).rejects.toBeInstanceOf(Interrupted);
    expect(count()).toBe(1);
  });

  it('ends with Ctrl-C while it waits, and before it looks', async () => {
    const controller = new AbortController();
    const { look, count } = looks(no('cloudy'));
    const options = {
      ...wait,
      look,
      timeoutMs: 60_000,
      pollMs: 30_000,
      signal: controller.signal,
      next: 'again',
    };
    const waiting = waitFor({ ...options, emit: () => setImmediate(() => controller.abort()) });
    await expect(waiting).rejects.toMatchObject({ exitCode: 130, next: 'again' });
    await expect(waitFor(options)).rejects.toBeInstanceOf(Interrupted);
    expect(count()).toBe(1);
  });

  it('ends at once where there is no hope, and says what else is known', async () => {
    const { look, count } = looks(no('cloudy'), { done: false, why: 'it fell down', hopeless: true });
    const failure = waitFor({ ...wait, look, timeoutMs: 60_000, explain: async () => ['gravity'] });
    await expect(failure).rejects.toMatchObject({
      message: 'Stopped waiting for the moon to rise: it fell down.',
      details: ['gravity'],
    });
    expect(count()).toBe(2);
  });

  it('asks for more once the time is up, and loses nothing where that fails', async () => {
    const explain = async () => {
      throw new Error('no library');
    };
    await expect(waitFor({ ...wait, ...looks(no('cloudy')), timeoutMs: 0, explain })).rejects.toMatchObject({
      message: expect.stringContaining('cloudy'),
      details: ['more could not be asked: no library'],
    });
  });
});
