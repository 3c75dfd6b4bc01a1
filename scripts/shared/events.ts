/**
 * What work tells its watcher. Work emits events; only cli/ turns them into a live list, plain lines or nothing.
 * A step is one line of a command's visible list; a note is what that step is doing or waiting for right now.
 */
export type LabEvent =
  | { readonly type: 'note'; readonly text: string }
  | {
      readonly type: 'progress';
      readonly done: number;
      readonly total: number;
      readonly secondsLeft?: number;
    }
  | { readonly type: 'warning'; readonly text: string };

/** Receives the events of one step. */
export type Emit = (event: LabEvent) => void;

/** For callers that have nobody to tell. */
export const silent: Emit = () => {};
