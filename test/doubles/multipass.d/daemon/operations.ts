import type { Call } from '../io.ts';
import type { Progress } from '../jobs.ts';
import { type LaunchRequest, launch } from './launch.ts';
import { type PowerRequest, remove, restart, start, stop } from './power.ts';

/** What the daemon does in processes of its own. */
export function operations(call: Call) {
  return {
    launch: (request: LaunchRequest, progress: Progress) => launch(call, request, progress),
    start: (request: PowerRequest) => start(call, request),
    stop: (request: PowerRequest) => stop(call, request),
    restart: (request: PowerRequest) => restart(call, request),
    delete: (request: PowerRequest) => remove(call, request),
  };
}
