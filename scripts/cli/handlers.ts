import type { DistributionName, DriverName, EchoVariant } from '../spec/types.ts';

export interface LabArgs {
  readonly file?: string;
  readonly json?: boolean;
}

export interface UpArgs extends LabArgs {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly driver?: DriverName | 'auto';
  readonly distribution?: DistributionName | 'auto';
  /** A name, or the folder of a bundle. */
  readonly artifacts?: string;
  readonly echo?: EchoVariant;
  readonly small?: boolean;
}

export interface BundleArgs {
  readonly from: 'online' | 'debian';
  readonly distribution?: DistributionName;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export interface DoctorArgs extends LabArgs {
  readonly driver?: DriverName | 'auto';
  readonly artifacts?: string;
}

export interface TestArgs extends LabArgs {
  readonly junit?: string;
  readonly strict?: boolean;
  readonly verbose?: boolean;
  readonly only?: readonly string[];
  readonly icmp?: boolean;
  readonly failFirst?: boolean;
  /** The path of an earlier report. */
  readonly diff?: string;
  readonly html?: string;
  readonly markdown?: string;
  readonly watch?: boolean;
  /** Seconds; with --watch only. */
  readonly for?: number;
}

export interface PredictArgs extends LabArgs {
  readonly icmp?: boolean;
  readonly only?: readonly string[];
}

export interface DownArgs extends LabArgs {
  readonly yes?: boolean;
  readonly purge?: boolean;
  readonly name?: string;
}

export interface LogsArgs extends LabArgs {
  readonly lines: number;
}

/** What each command does with its parsed arguments. Every handler notes the exit code; none ends the process. */
export interface Handlers {
  init(args: LabArgs): Promise<void>;
  up(args: UpArgs): Promise<void>;
  test(args: TestArgs): Promise<void>;
  selftest(faults: readonly string[], args: LabArgs): Promise<void>;
  predict(args: PredictArgs): Promise<void>;
  explain(cell: string, args: LabArgs): Promise<void>;
  down(args: DownArgs): Promise<void>;
  bundleCreate(folder: string, args: BundleArgs): Promise<void>;
  bundleVerify(folder: string, args: { readonly json?: boolean }): Promise<void>;
  doctor(args: DoctorArgs): Promise<void>;
  status(args: LabArgs): Promise<void>;
  ssh(machine: string, args: LabArgs): Promise<void>;
  exec(machine: string, command: readonly string[], args: LabArgs): Promise<void>;
  kubectl(args: readonly string[], options: LabArgs): Promise<void>;
  logs(machine: string | undefined, args: LogsArgs): Promise<void>;
}
