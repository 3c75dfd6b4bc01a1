import { unhandled } from './failures.ts';

const UNIT = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 } as const;

/** A memory size in bytes, in the grammar of src/utils/memory_size.cpp. Ends the command where it is none. */
export function parseSize(text: string): number {
  const match = /^\s*(\d+(?:\.\d+(?=[KMG]))?)(?:([KMG])(?:I?B)?|B)?\s*$/i.exec(text);
  if (match === null) {
    throw unhandled(
      `${text} is not a valid memory size - need a non-negative integer (in base 10) or a decimal followed by K, M, ` +
        'or G (e.g. 1234B, 42MiB, 0.5G)',
    );
  }
  const unit = (match[2] ?? '').toUpperCase() as keyof typeof UNIT;
  return Math.floor(Number(match[1]) * UNIT[unit]);
}
