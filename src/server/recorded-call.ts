import type { Action } from "../core/action.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { ToolDefinition } from "../core/release.ts";
import type { ModelResult } from "../core/transcript.ts";
import { releaseByDigest } from "../registry/index.ts";
import { digestOf, getPayloads } from "../store/index.ts";
import type { PayloadKeys, RunRow, StepRow, Tx } from "../store/index.ts";

export type RecordedCall = { readonly action: Action; readonly tool: ToolDefinition | undefined };

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
    getPayloads(tx, keys, [asking.result]),
    releaseByDigest(tx, run.release),
  ]);
  const answer = payloads.get(asking.result) as unknown as ModelResult | undefined;
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
  if (digestOf(action as unknown as Json) !== step.action) return undefined;
  return { action, tool: release.document.tools.find(({ name }) => name === step.name) };
}

function objectIn(text: string | undefined): JsonObject | undefined {
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text === "" ? "{}" : text) as Json;
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}
