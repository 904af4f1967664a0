import type { Digest } from "../../core/ids.ts";
import type { LedgerEvent } from "../../core/ledger-event.ts";
import type { TokenPrice } from "../../core/money.ts";
import { idempotencyKeyOf } from "../governed-call.ts";
import { runEvent } from "../run/event.ts";
import type { DecisionToRecord } from "./write-decisions.ts";

type Told = Pick<
  DecisionToRecord,
  | "run"
  | "step"
  | "decision"
  | "policySet"
  | "request"
  | "activity"
  | "approval"
  | "shadow"
  | "edit"
  | "standingGrant"
  | "cosigned"
  | "now"
> & {
  /** Which one on its step. */
  readonly n: number;
  /** Of the model's answer, where that was decided on and not the call. */
  readonly answer?: Digest;
  readonly effective: Digest | undefined;
};

/** What the ledger says of a decision on a call or on a model's answer. */
export function decidedEvent(d: Told): LedgerEvent {
  const { run, step, n, decision } = d;
  return runEvent(run, "step.decided", `${step.seq}/decided/${n}`, d.now, {
    seq: step.seq,
    n,
    step: step.kind,
    name: step.name,
    agent: run.agent,
    release: run.release.digest,
    action: step.actionDigest,
    arguments: step.arguments,
    ...(d.answer === undefined ? {} : { answer: d.answer }),
    outcome: decision.outcome,
    ...(decision.outcome === "deny" ? { code: decision.code } : {}),
    policies: decision.policies.map((reason) => reason.policy),
    policySet: d.policySet,
    request: d.request,
    activity: d.activity,
    ...(d.approval === undefined ? {} : { approval: d.approval }),
    ...(d.effective === undefined ? {} : { effective: d.effective }),
    ...(d.shadow ? { shadow: "true" } : {}),
    ...(d.edit === undefined ? {} : { edit: d.edit }),
    ...(d.standingGrant === undefined ? {} : { standingGrant: d.standingGrant }),
    ...(d.cosigned === undefined ? {} : { witnesses: d.cosigned.witnesses, cosignBy: d.cosigned.until.toISOString() }),
  });
}

/** The same of a step's decision, with an intent where something is about to happen. */
export function decisionEvents(d: DecisionToRecord): readonly LedgerEvent[] {
  const { run, step, now } = d;
  const decided = decidedEvent({ ...d, n: d.standing.decisions, effective: d.effective?.digest });
  if (d.decision.outcome !== "allow") return [decided];
  const intent = runEvent(run, "step.intent", `${step.seq}/intent`, now, {
    seq: step.seq,
    action: step.actionDigest,
    idempotencyKey: idempotencyKeyOf(run.id, step.seq),
    heldMicroUsd: step.hold,
    // With the usage that its end tells, an auditor works its cost out again.
    ...(step.kind === "model" && step.price !== undefined ? pricesOf(step.price) : {}),
  });
  return [decided, intent];
}

function pricesOf({ inputPerMillion, cachedInputPerMillion, outputPerMillion }: TokenPrice) {
  return { inputPerMillion, cachedInputPerMillion, outputPerMillion };
}
