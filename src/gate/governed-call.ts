import type { KeyObject } from "node:crypto";

import type { StepKind } from "../core/action.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { JsonObject } from "../core/json.ts";
import type { TokenUsage } from "../core/money.ts";
import type { Release } from "../core/release.ts";
import type { Callable, CallKind } from "../core/retrieval.ts";
import type { RunInput } from "../core/run.ts";
import type { Message, ModelResult, ToolResult } from "../core/transcript.ts";

/** The store's `Sealing`, which what is verified offline must not reach. */
type Sealing = { readonly current: { readonly id: string; readonly key: KeyObject; readonly salt?: string } };

/** What never changes in a run. */
export type RunContext = {
  readonly id: RunId;
  readonly team: string;
  readonly agent: string;
  readonly requestedBy: string;
  readonly release: Release;
  readonly input: RunInput;
  readonly inputDigest: Digest;
  /** What digests of the run's contents are made with; absent: they are bare. */
  readonly salt?: string | undefined;
  /** The data key that the run's own key is under. */
  readonly dataKey?: string | undefined;
  /** What its contents are encrypted under; absent where nothing is written. */
  readonly sealing?: Sealing;
};

/** Throws for a run that is only looked at. */
export function sealingIn({ id, sealing }: RunContext): Sealing {
  if (sealing === undefined) throw new TypeError(`run ${id} has no key to write with`);
  return sealing;
}

/** A model call that the gate has allowed, with everything it needs. */
export type GovernedModelCall = {
  readonly kind: "model";
  readonly run: RunContext;
  readonly seq: number;
  readonly messages: readonly Message[];
  /** The most that the answer may have: what the release says, or less where a policy caps it. */
  readonly maxOutputTokens: number;
  /** Somebody watches: pieces of the answer are published as they come. */
  readonly watched: boolean;
  readonly signal: AbortSignal;
};

/** A tool call or a retrieval that the gate has allowed. */
export type GovernedToolCall = {
  readonly kind: CallKind;
  readonly run: RunContext;
  readonly seq: number;
  readonly tool: Callable;
  readonly args: JsonObject;
  readonly idempotencyKey: string;
  /** The effect was begun before, and its end is not known. */
  readonly resumed: boolean;
  readonly signal: AbortSignal;
};

export type GovernedCall = GovernedModelCall | GovernedToolCall;

/**
 * How an effect ended, as its activity tells the gate. Messages hold no contents. `usage`: what a model took that gave no answer; absent,
 * nobody knows, and all that was held is charged.
 */
export type EffectOutcome =
  | { readonly status: "result"; readonly kind: "model"; readonly result: ModelResult; readonly usage: TokenUsage }
  | { readonly status: "result"; readonly kind: CallKind; readonly result: ToolResult }
  /** Known to have had no effect; trying again would not help. */
  | {
      readonly status: "failed";
      readonly code: string;
      readonly message: string;
      readonly usage?: TokenUsage | undefined;
    }
  /** Safe to try again. */
  | {
      readonly status: "retry";
      readonly code: string;
      readonly message: string;
      readonly afterMs?: number;
      readonly usage?: TokenUsage | undefined;
    }
  /** It may or may not have happened, and there is no way to find out. */
  | { readonly status: "unknown"; readonly message: string };

// Only the gate adds to it, so an activity that is called around the gate finds its call missing here.
const issued = new WeakSet<object>();

export function issue<Call extends GovernedCall>(call: Call): Call {
  issued.add(call);
  return call;
}

/** Throws where `call` did not come from the gate. Every governed activity begins with it. */
export function assertGoverned(call: unknown, kind: StepKind): void {
  if (typeof call !== "object" || call === null || !issued.has(call)) {
    throw new Error(`activity \`${kind}\` was called around the gate`);
  }
}

/** The same for every attempt of a step, and for no other. */
export function idempotencyKeyOf(run: RunId, seq: number): string {
  return `${run}.${seq}`;
}
