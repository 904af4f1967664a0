import type { ApprovalId } from "../../core/ids.ts";
import type { ModelResult } from "../../core/transcript.ts";
import type { SealedPayload } from "../../store/index.ts";
import type { OutcomeToRecord } from "../effects/outcome.ts";
import type { RunContext } from "../governed-call.ts";
import type { ResolvedModelStep } from "../step/resolve.ts";
import type { Standing } from "../step/standing.ts";

/** A model's answer that has not gone anywhere yet. */
export type Answered = {
  readonly run: RunContext;
  readonly step: ResolvedModelStep;
  readonly standing: Standing;
  readonly activity: string;
  readonly answer: ModelResult;
};

export type Responded =
  /** `result` is what goes further: the answer, or what stands in its place. */
  | { readonly status: "recorded"; readonly result: SealedPayload }
  | { readonly status: "waiting"; readonly request: ApprovalId; readonly expiresAt: number }
  | { readonly status: "superseded" };

/** What the call took, and what was known before of where that is settled. */
export type Settled = Pick<OutcomeToRecord, "taken" | "before">;
