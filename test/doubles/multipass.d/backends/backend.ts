import type { Readable } from 'node:stream';
import type { Instance } from '../instance.ts';

/** What cloud-init finds as its seed. */
export interface Seed {
  readonly userData: string;
  readonly vendorData: string;
  readonly metaData: string;
  readonly networkConfig: string;
}

export type Power = 'running' | 'stopped';

/** How a command in a guest ended: exactly one of the two. */
export interface Ended {
  readonly code?: number;
  readonly signal?: string;
}

export interface Streams {
  /** Forwarded up to its end, or the command's. */
  readonly stdin: Readable | undefined;
  /** A pseudo terminal in the guest. */
  readonly terminal: boolean;
  out(chunk: Uint8Array): void;
  err(chunk: Uint8Array): void;
}

/** A guest that answers, as the user ubuntu. */
export interface Connection {
  exec(commands: readonly (readonly string[])[], streams: Streams): Promise<Ended>;
  close(): void;
}

export interface Network {
  readonly name: string;
  readonly type: string;
  readonly description: string;
}

/** Where machines come from. */
export interface Backend {
  /** Makes what machines need on this host: nothing, or an image, a project, a bridge and its rules. */
  prepare(say: (text: string) => void): Promise<void>;
  create(instance: Instance, seed: Seed): Promise<void>;
  power(): Promise<ReadonlyMap<string, Power>>;
  start(name: string): Promise<void>;
  stop(name: string, force: boolean): Promise<void>;
  /** No error where it is gone. */
  remove(name: string): Promise<void>;
  /** The address that the daemon knows for the first network card. */
  address(instance: Instance): Promise<string | undefined>;
  /** Has a stopped machine come back with another address. */
  changeAddress(instance: Instance): Promise<void>;
  /** Throws where the guest does not answer. */
  connect(instance: Instance, address: string): Promise<Connection>;
  /** Whether cloud-init has ended, however it did (/var/lib/cloud/instance/boot-finished). */
  initialized(connection: Connection): Promise<boolean>;
  networks(): Promise<readonly Network[]>;
  /** Takes away everything that it made on this host. */
  cleanUp(say: (text: string) => void): Promise<void>;
}
