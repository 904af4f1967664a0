import { ulid } from "ulid";

import { noFacts } from "../../src/core/decision.ts";
import type { RunFacts } from "../../src/core/decision.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import type { Release } from "../../src/core/release.ts";
import type { ModelResult } from "../../src/core/transcript.ts";
import { compilePolicies, explain, requestJson, verdictOf } from "../../src/policy/index.ts";
import type { PolicyRequest, PolicySetDocument } from "../../src/policy/index.ts";
import { activatePolicySet } from "../../src/registry/index.ts";
import { digestOf, sealPayload, writeSealed } from "../../src/store/index.ts";
import type { PayloadKeys, Pool, SealedPayload } from "../../src/store/index.ts";

export type RecordedCall = { readonly tool: string; readonly args: JsonObject; readonly facts?: Partial<RunFacts> };
export type RecordedRun = { readonly id: RunId; readonly calls: readonly RecordedCall[]; readonly at: Date };

type Rows = Record<string, unknown[]>;

/**
 * Writes runs as the gate would have, without running them: of each call a model step that asks for it and the tool's step, with the
 * decisions that `policies` make on both. Nothing waits for people: what asks for them is recorded as asked.
 */
export async function recordRuns(
  pool: Pool,
  keys: PayloadKeys,
  release: Release,
  policies: PolicySetDocument,
  runs: readonly RecordedRun[],
): Promise<void> {
  const { team, agent, model } = release.document;
  const { digest: policySet } = await activatePolicySet(
    pool,
    team,
    policies as unknown as Json,
    "operator",
    runs[0]?.at ?? new Date(),
  );
  const compiled = compilePolicies(policies, release.document.tools);
  const sealed: SealedPayload[] = [];
  const [run, step, decision]: Rows[] = [{}, {}, {}];
  const add = (rows: Rows = {}, values: Record<string, unknown>) => {
    for (const [name, value] of Object.entries(values)) (rows[name] ??= []).push(value);
  };

  for (const { id, calls, at } of runs) {
    const input = sealPayload(keys, { prompt: `do ${id}`, subject: { id: "cus_ada", email: "ada@example.com" } });
    sealed.push(input);
    add(run, { id, input: input.digest, at, count: calls.length * 2 });
    calls.forEach(({ tool, args, facts = {} }, index) => {
      const answer: ModelResult = {
        content: `${id} ${index}`,
        toolCalls: [{ id: `call_${index}`, name: tool, arguments: JSON.stringify(args) }],
        finishReason: "tool_calls",
      };
      const asked = sealPayload(keys, answer as unknown as Json);
      sealed.push(asked);
      const kinds = [
        { seq: index * 2, kind: "model", name: model.name, arguments: { turn: index }, result: asked.digest },
        { seq: index * 2 + 1, kind: "tool", name: tool, arguments: args, result: null, askedBy: index * 2 },
      ] as const;
      for (const one of kinds) {
        const now = new Date(at.getTime() + one.seq * 1_000);
        const recorded: RunFacts = { ...noFacts, at: now.toISOString(), steps: one.seq, ...facts };
        const request: PolicyRequest = {
          agent: {
            team,
            name: agent,
            release: release.digest,
            useCase: release.document.useCase,
            riskTier: release.document.riskTier,
          },
          run: { id, requestedBy: "operator", subject: { id: "cus_ada", email: "ada@example.com" } },
          step:
            one.kind === "model"
              ? { kind: "model", model: one.name, maxOutputTokens: model.maxOutputTokens }
              : { kind: "tool", tool, arguments: args },
          facts: recorded,
        };
        const explained = explain(compiled, request);
        const verdict = verdictOf(explained.decision, explained.effective);
        const asDigest =
          explained.request === undefined ? "0".repeat(64) : digestOf(requestJson(explained.request, recorded));
        add(step, {
          run: id,
          seq: one.seq,
          kind: one.kind,
          name: one.name,
          arguments: digestOf(one.arguments),
          asked_by: "askedBy" in one ? one.askedBy : null,
          call_index: "askedBy" in one ? 0 : null,
          state: verdict.outcome === "allow" ? "done" : verdict.outcome === "deny" ? "denied" : "waiting",
          result: one.result,
          at: now,
        });
        add(decision, {
          run: id,
          seq: one.seq,
          ...verdict,
          policies: JSON.stringify(verdict.policies),
          facts: JSON.stringify(recorded),
          request: asDigest,
          at: now,
        });
      }
    });
  }
  for (let start = 0; start < sealed.length; start += 2_000)
    await writeSealed(pool, sealed.slice(start, start + 2_000));
  const cols = (rows: Rows = {}, ...names: string[]) => names.map((name) => rows[name] ?? []);
  await pool.query(
    `insert into run (id, team, agent, release, input, requested_by, created_at, max_steps, max_cost_micro_usd, steps, decisions, subject_key)
     select id, $1, $2, $3, input, 'operator', at, 1000, 1000000, count, count, '' from unnest($4::text[], $5::text[], $6::timestamptz[], $7::int[]) as given (id, input, at, count)`,
    [team, agent, release.digest, ...cols(run, "id", "input", "at", "count")],
  );
  await pool.query(
    `insert into step (run, seq, kind, name, action, arguments, asked_by, call_index, call_id, state, result, decided_at, finished_at)
     select run, seq, kind, name, arguments, arguments, asked_by, call_index, case when call_index is null then null else 'call' end, state, result, at,
       case when state = 'waiting' then null else at end
     from unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[], $8::text[], $9::text[], $10::timestamptz[])
       as given (run, seq, kind, name, arguments, asked_by, call_index, state, result, at)`,
    cols(step, "run", "seq", "kind", "name", "arguments", "asked_by", "call_index", "state", "result", "at"),
  );
  await pool.query(
    `insert into decision (run, seq, n, activity, outcome, code, policies, policy_set, facts, request, at, effective, shadow)
     select run, seq, 0, 'activity', outcome, code, array(select jsonb_array_elements_text(policies)), $1, facts, request, at, effective, shadow
     from unnest($2::text[], $3::int[], $4::text[], $5::text[], $6::jsonb[], $7::jsonb[], $8::text[], $9::timestamptz[], $10::text[], $11::boolean[])
       as given (run, seq, outcome, code, policies, facts, request, at, effective, shadow)`,
    [
      policySet,
      ...cols(decision, "run", "seq", "outcome", "code", "policies", "facts", "request", "at", "effective", "shadow"),
    ],
  );
}

export const newRunId = (): RunId => `run_${ulid()}` as RunId;
