import { cosigningOf } from "../../core/decision.ts";
import type { Decision, DenialCode } from "../../core/decision.ts";
import type { ApprovalId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { RunFailureCode } from "../../core/run.ts";
import type { ToolResult } from "../../core/transcript.ts";
import { canonicalText, sealPayload } from "../../store/index.ts";
import type { SealedPayload, Tx } from "../../store/index.ts";
import { editIn } from "../approved/edit.ts";
import { sealingIn } from "../governed-call.ts";
import type { RunContext } from "../governed-call.ts";
import { madeWith } from "../step/resolve.ts";
import type { ResolvedStep } from "../step/resolve.ts";
import { isShadow } from "./asked.ts";
import type { Deciding } from "./deciding.ts";
import { denial, judge } from "./judge.ts";
import type { Judged } from "./judge.ts";
import { writeDecision } from "./write-decisions.ts";
import type { DecisionToRecord } from "./write-decisions.ts";

/** What becomes of a step by its decision. */
export type Decided =
  | {
      readonly status: "allowed";
      readonly effective?: JsonObject;
      readonly shadow: boolean;
      /** Its intent is recorded, and witnesses have to cosign that before the call is made. */
      readonly awaitsWitnesses: boolean;
      /** The call as a reviewer changed it. */
      readonly step?: ResolvedStep;
    }
  | { readonly status: "denied"; readonly text: string }
  | { readonly status: "waiting"; readonly request: ApprovalId; readonly expiresAt: number }
  | { readonly status: "halted"; readonly code: RunFailureCode; readonly message: string };

/** What is denied anyway is not asked about elsewhere. */
const nobodyElse = { remote: undefined, detected: undefined } as const;

/** A denial that is the gate's own, after waiting. */
export async function refuse(
  tx: Tx,
  deciding: Deciding,
  code: DenialCode,
  text: string,
  approval: ApprovalId | undefined,
): Promise<Decided> {
  const { facts, policySet, request } = await judge(tx, deciding.count, { ...deciding, ...nobodyElse }, []);
  const decision = denial(code, text);
  return writeDecided(
    tx,
    deciding,
    { facts, policySet, request, exhausted: [], decision, policyDecision: decision },
    approval,
  );
}

/** Writes a decision that asks nobody any more. */
export async function writeDecided(
  tx: Tx,
  deciding: Deciding,
  judged: Judged,
  approval: ApprovalId | undefined,
): Promise<Decided> {
  const record = toRecord(deciding, judged, approval);
  await writeDecision(tx, record);
  const made = decided(record);
  return made.status === "allowed" && editIn(deciding.step) !== undefined ? { ...made, step: deciding.step } : made;
}

/** What a decision that is written comes to. */
export function decided({ decision, effective, cosigned }: DecisionToRecord): Decided {
  if (decision.outcome === "deny") return { status: "denied", text: denialText(decision) };
  return {
    status: "allowed",
    shadow: isShadow(decision),
    awaitsWitnesses: cosigned !== undefined,
    ...(effective === undefined ? {} : { effective: effective.value as JsonObject }),
  };
}

/** The arguments that the call is made with, where they are not those that the agent gave. */
export function effectiveOf({ step }: Deciding, { decision, effective }: Judged): JsonObject | undefined {
  if (decision.outcome === "deny" || step.kind === "model" || editIn(step) === undefined) return effective;
  return effective ?? step.args;
}

export function toRecord(deciding: Deciding, judged: Judged, approval: ApprovalId | undefined): DecisionToRecord {
  const { run, step, standing, activity, at } = deciding;
  const { decision, facts, policySet, request } = judged;
  const effective = effectiveOf(deciding, judged);
  const edit = editIn(step);
  const cosigning = cosigningOf(decision);
  return {
    run,
    // A tool's call stands as it was asked for; what a model's may take is what it is made with.
    step: edit?.original ?? (step.kind === "model" ? madeWith(step, effective) : step),
    standing,
    activity,
    decision,
    facts,
    policySet,
    request,
    approval,
    effective: effective === undefined ? undefined : sealPayload(sealingIn(run), effective),
    shadow: isShadow(decision),
    edit: edit?.request,
    cosigned:
      cosigning === undefined
        ? undefined
        : { witnesses: cosigning.witnesses, until: new Date(at.getTime() + cosigning.withinMs) },
    result: denialPayload(run, decision, step),
    now: at,
  };
}

function denialPayload(run: RunContext, decision: Decision, step: ResolvedStep): SealedPayload | undefined {
  if (decision.outcome !== "deny") return undefined;
  const changed = step.kind === "tool" && editIn(step) !== undefined;
  const text = denialText(decision);
  const message = changed ? `a reviewer changed the call to ${canonicalText(step.args)}: ${text}` : text;
  const result: ToolResult = { status: "denied", code: decision.code, message };
  return sealPayload(sealingIn(run), result as unknown as Json);
}

export function denialText(decision: Extract<Decision, { outcome: "deny" }>): string {
  const texts = decision.policies.map((reason) => reason.text).filter((text) => text !== "");
  return texts.length > 0 ? texts.join("; ") : `denied: ${decision.code}`;
}
