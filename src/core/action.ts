import type { Digest, RunId } from "./ids.ts";
import type { Json } from "./json.ts";

export const stepKinds = ["model", "tool", "retrieval", "notify"] as const;
/** The kinds of governed call. Each is the name of a Temporal activity. */
export type StepKind = (typeof stepKinds)[number];

/** Why a step failed, where its call is not to blame: a budget had no room for another attempt of it. */
export type StepCode = "no_room";

export const effectClasses = ["read", "write", "egress", "destructive"] as const;
/** What a tool does to the world: the coarsest fact a policy can go by. */
export type EffectClass = (typeof effectClasses)[number];

/**
 * Exactly what a step would do. Its digest, SHA-256 over its RFC 8785 bytes, is what a decision, an approval and an
 * intent are bound to: changed arguments are another action.
 */
export type Action = {
  readonly v: 1;
  readonly team: string;
  readonly agent: string;
  readonly release: Digest;
  readonly run: RunId;
  /** The step's place in the run, dense from 0. */
  readonly seq: number;
  readonly kind: StepKind;
  /** The model's, tool's or source's name, as the release pins it. */
  readonly name: string;
  readonly arguments: Json;
};
