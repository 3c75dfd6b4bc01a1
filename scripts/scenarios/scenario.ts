import type { Facts } from './facts.ts';

/** Something that is known only on a running lab, and how it is called: "the ClusterIP of web". */
export interface Value<T> {
  readonly text: string;
  /** Throws NotThere where the lab does not have it (yet). */
  readonly of: (facts: Facts) => T;
}

/** A word of a command: as it is, or known only on a running lab. */
export type Word = string | Value<string>;

/** What is typed: with kubectl, or on a machine. */
export interface Typed {
  readonly on: Word;
  readonly argv: readonly Word[];
  /** Its standard input. */
  readonly input?: Word;
}

/** What a command printed, and what the API said right after it. */
export interface Seen {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly facts: Facts;
}

/** What an expectation came to: `seen` in one sentence for a reader, also where all is right. */
export interface Judgement {
  readonly right: boolean;
  readonly seen: string;
}

/** What must be seen. `judge` is pure. */
export interface Expectation {
  readonly wanted: string;
  readonly judge: (seen: Seen) => Judgement;
}

interface StepText {
  readonly id: string;
  /** One sentence: why this is what must be seen. */
  readonly why: string;
  /** All of them. */
  readonly expect: Expectation | readonly Expectation[];
  /** How long it may take until it is seen, in milliseconds; default: 30 s. */
  readonly withinMs?: number;
  /** Which lines of the output matter; default: the first eight. */
  readonly show?: RegExp;
}

/**
 * One step. What changes something is typed once, and then looked at until the expectation holds; what only looks is typed
 * again each time.
 */
export type Step = StepText & ({ readonly change: Typed } | { readonly look: Typed });

/** What a lab must have for a scenario. */
export type Need =
  | { readonly image: string }
  /** From this minor version on: 24 is Kubernetes 1.24. */
  | { readonly minor: number }
  | { readonly workers: number }
  /** A client without routes into the cluster. */
  | { readonly outsider: true }
  /** kube-proxy's mode. */
  | { readonly proxyMode: 'iptables' | 'nftables' | 'ipvs' };

/**
 * A lesson that is run step by step on the running lab. Its manifests are plain, for `kubectl apply -f` by hand as well; it
 * runs in namespaces of its own, called lab-NAME, which are removed at the end. Pods end quickly
 * (terminationGracePeriodSeconds). kubelet 1.20 keeps a deleted pod in the API for up to 70 s after its containers have
 * ended: never wait for one to be gone (--wait=false), and delete by force where the same name must come back at once.
 */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** One or two sentences: what the reader has understood at the end. */
  readonly lesson: string;
  /** What its manifests make; all that is in them goes with them at the end. */
  readonly namespaces: readonly string[];
  /** Other namespaces that its expectations read; nothing in them is changed. */
  readonly reads?: readonly string[];
  readonly needs?: readonly Need[];
  readonly steps: readonly Step[];
  /** Undoes what it changes outside its namespaces; right at any time, also twice and where nothing was changed. */
  readonly undo?: readonly Typed[];
}

/** Thrown where a value is not known: no pod, service or node of that name, or it has no address (yet). */
export class NotThere extends Error {}
