import type { BackgroundProcess } from '../../../scripts/exec/local.ts';

/** States as the client prints them (src/client/cli/formatter/format_utils.cpp). */
export type State = 'Running' | 'Stopped' | 'Deleted' | 'Starting' | 'Restarting' | 'Unknown' | 'Unavailable';

export interface ExtraInterface {
  readonly network: string;
  readonly mode: 'auto' | 'manual';
  readonly mac: string;
}

/** What the daemon knows of an instance; one file each. Sizes in bytes. */
export interface Instance {
  readonly name: string;
  /** As last recorded; see `observed` for what is reported. */
  readonly state: State;
  readonly deleted: boolean;
  /** Still being made: the name is taken, and nothing else can be said of it. */
  readonly preparing: boolean;
  /** Who is working on it now. */
  readonly busy: BackgroundProcess | undefined;
  readonly image: {
    readonly alias: string;
    readonly release: string;
    readonly os: string;
    readonly hash: string;
  };
  readonly cpus: number;
  readonly memory: number;
  readonly disk: number;
  readonly mac: string;
  readonly interfaces: readonly ExtraInterface[];
  readonly zone: string;
  /** The sandbox's own address; containers ask the network. */
  readonly address: string | undefined;
}
