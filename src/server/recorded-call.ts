import { editBehind } from "../approvals/index.ts";
import type { ApprovalRequest } from "../approvals/index.ts";
import type { Action } from "../core/action.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { ToolDefinition } from "../core/release.ts";
import type { ModelResult } from "../core/transcript.ts";
import { releaseByDigest } from "../registry/index.ts";
import { contentDigest, decisionsOf, getContents, getPayloads, runById, stepsOf } from "../store/index.ts";
import type { PayloadKeys, RunRow, StepRow, Tx } from "../store/index.ts";

export type RecordedCall = {
  readonly action: Action;
  readonly tool: ToolDefinition | undefined;
  /** What the digests of its run are made with; absent: they are bare. */
  readonly salt: string | undefined;
};

/** A tool call as the model asked for it, from the record; undefined where its contents are not there, or are not what was decided on. */
export async function recordedCall(
  tx: Tx,
  keys: PayloadKeys,
  run: RunRow,
  step: StepRow,
  asking: StepRow | undefined,
): Promise<RecordedCall | undefined> {
  if (asking === undefined || asking.result === null) return undefined;
  const [payloads, release] = await Promise.all([
    getContents(tx, keys, [asking.result]),
    releaseByDigest(tx, run.release),
  ]);
  const content = payloads.get(asking.result);
  const answer = content?.value as unknown as ModelResult | undefined;
  const args = objectIn(answer?.toolCalls[step.callIndex ?? -1]?.arguments);
  if (args === undefined) return undefined;
  const action: Action = {
    v: 1,
    team: run.team,
    agent: run.agent,
    release: run.release,
    run: run.id,
    seq: step.seq,
    kind: step.kind,
    name: step.name,
    arguments: args,
  };
  if (contentDigest(content?.salt, action as unknown as Json) !== step.action) return undefined;
  return { action, salt: content?.salt, tool: release.document.tools.find(({ name }) => name === step.name) };
}

/** The arguments with which a request's call would be made, where policies change them. */
export async function madeWith(tx: Tx, keys: PayloadKeys, request: ApprovalRequest): Promise<Json | undefined> {
  const asked = (await decisionsOf(tx, request.run)).find(
    ({ approval, outcome }) => approval === request.id && outcome === "require_approval",
  );
  if (asked === undefined || asked.effective === null) return undefined;
  return (await getPayloads(tx, keys, [asked.effective])).get(asked.effective);
}

/** The call that a request is about, as it stands: as the agent asked for it, or as a reviewer has changed it before. */
export async function callOf(tx: Tx, keys: PayloadKeys, request: ApprovalRequest): Promise<RecordedCall | undefined> {
  const [run, steps, behind] = await Promise.all([
    runById(tx, request.run),
    stepsOf(tx, request.run),
    editBehind(tx, request.id),
  ]);
  const step = steps.find(({ seq }) => seq === request.seq);
  const asking = steps.find(({ seq }) => seq === step?.askedBy);
  const asked = step === undefined || run === undefined ? undefined : await recordedCall(tx, keys, run, step, asking);
  if (asked === undefined) return undefined;
  const args =
    behind === undefined
      ? asked.action.arguments
      : (await getPayloads(tx, keys, [behind.arguments])).get(behind.arguments);
  if (args === undefined) return undefined;
  const action: Action = { ...asked.action, arguments: args };
  return contentDigest(asked.salt, action as unknown as Json) === request.action ? { ...asked, action } : undefined;
}

/** The arguments of a call as a model wrote them; undefined where they are no object. */
export function objectIn(text: string | undefined): JsonObject | undefined {
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text === "" ? "{}" : text) as Json;
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}
