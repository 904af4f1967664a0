import { ulid } from "ulid";

import type { HistoryFact } from "../../src/core/decision.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import type { Release, ReleaseDocument, ToolDefinition } from "../../src/core/release.ts";
import type { RunInput } from "../../src/core/run.ts";
import { appendToOutbox } from "../../src/ledger/index.ts";
import { policySetOf } from "../../src/policy/index.ts";
import { activatePolicySet } from "../../src/registry/index.ts";
import { policyActivated } from "../../src/server/ledger-events.ts";
import { createRun, dataKeyOf, inTransaction, newRunKey, putPayloads, subjectKey } from "../../src/store/index.ts";
import type { PayloadKeys, Pool } from "../../src/store/index.ts";

/** Puts a team's policies in force, as the server does: in the registry and the ledger. */
export async function activatePolicies(
  pool: Pool,
  team: string,
  text: string,
  now: Date,
  history: readonly HistoryFact[] = [],
): Promise<Digest> {
  const { document, problems } = policySetOf([{ name: "test.cedar", text }], history);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return inTransaction(pool, async (tx) => {
    const set = await activatePolicySet(tx, team, document as unknown as Json, "operator", now);
    const { digest, activation } = set;
    if (activation !== undefined)
      await appendToOutbox(tx, [policyActivated(team, digest, activation, "operator", now)]);
    return digest;
  });
}

/** A run of a release that `operator` asked for, which nothing has begun. */
export async function registerRun(
  pool: Pool,
  keys: PayloadKeys,
  { digest, document }: Release,
  input: RunInput,
  now: Date,
): Promise<RunId> {
  const id = `run_${ulid()}` as RunId;
  const subject = input.subject === undefined ? "" : subjectKey(keys, input.subject.id);
  const dataKey = await dataKeyOf(pool, keys, subject, now);
  const { sealing, sealedKey } = newRunKey(dataKey, id);
  const [content] = await putPayloads(pool, sealing, [input as unknown as Json]);
  await createRun(pool, {
    id,
    team: document.team,
    agent: document.agent,
    release: digest,
    input: content!,
    requestedBy: "operator",
    limits: document.limits,
    subjectKey: subject,
    contents: { dataKey: dataKey.id, sealedKey },
    now,
  });
  return id;
}

/** What a release says of a tool. */
export function tool(name: string, effect: ToolDefinition["effect"] = "read"): ToolDefinition {
  return {
    name,
    description: name,
    parameters: { type: "object", properties: { amount: { type: "integer" } } },
    effect,
    groups: [],
    idempotency: "key",
    short: true,
    timeoutMs: 1_000,
    implementation: { kind: "http", method: "POST", url: "https://example.com/tool" },
  };
}

export function document(changes: Partial<ReleaseDocument> = {}): ReleaseDocument {
  return {
    v: 1,
    team: "shop",
    agent: "support",
    useCase: "tests",
    riskTier: "limited",
    model: { name: "scripted/none", maxOutputTokens: 100 },
    prompt: "help",
    tools: [tool("look"), tool("act", "write")],
    limits: { maxSteps: 5, maxCostMicroUsd: 1_000, maxWallClockMs: 60_000 },
    ...changes,
  };
}
