import { randomBytes } from "node:crypto";

import { ApiError } from "../../api/index.ts";
import type { UnknownOutcomeView } from "../../api/index.ts";
import {
  listOutcomes,
  outcomeById,
  outcomesOf,
  readSigned,
  renderAction,
  resolutionFacts,
  resolutionKind,
  resolveOutcome,
  subjectNames,
} from "../../approvals/index.ts";
import type { UnknownOutcome } from "../../approvals/index.ts";
import { approvalIdPattern, peopleLog } from "../../core/ids.ts";
import type { ApprovalId, RunId } from "../../core/ids.ts";
import type { RunInput } from "../../core/run.ts";
import { faultPoint } from "../../faults/index.ts";
import { logSize } from "../../ledger/index.ts";
import { getPayloads, inTransaction, stepsOf } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import { tellOutcome } from "../deliver-decisions.ts";
import type { Services } from "../dependencies.ts";
import type { Handlers } from "../handler.ts";
import { noteAuditorsRead } from "../note-read.ts";
import { recordedCall } from "../recorded-call.ts";
import { existingRun } from "./runs.ts";

export const outcomeHandlers: Handlers<"listOutcomes" | "showOutcome" | "resolveOutcome"> = {
  async listOutcomes({ query }, { services, caller }) {
    const { cursor, limit, ...filter } = query;
    if (cursor !== undefined && !approvalIdPattern.test(cursor))
      throw new ApiError("invalid_cursor", "the cursor is not one of this list");
    const rows = await listOutcomes(services.pool, {
      ...filter,
      team: filter.team ?? caller().teams,
      before: cursor as ApprovalId | undefined,
      limit: limit + 1,
    });
    const page = rows.slice(0, limit);
    return { outcomes: page.map(viewOf), next: rows.length > limit ? (page.at(-1)?.id ?? null) : null };
  },

  async showOutcome({ params: { run, seq } }, { services, caller }) {
    const outcome = await existingOutcome(services.pool, run, seq);
    await noteAuditorsRead(services, { id: run, team: outcome.team }, "outcome", caller());
    return {
      outcome: viewOf(outcome),
      rendered: await renderedCall(services, outcome),
      statement: { ...resolutionFacts(outcome), nonce: randomBytes(18).toString("base64url") },
    };
  },

  async resolveOutcome({ params: { run, seq }, body }, { services, caller }) {
    const { id: reviewer } = caller();
    const { pool } = services;
    await existingOutcome(pool, run, seq);
    const resolve = async (tx: Tx) => {
      const surroundings = {
        subject: await subjectOf(services, tx, run),
        keysSize: await logSize(tx, peopleLog),
      };
      const outcome = await resolveOutcome(tx, body, reviewer, surroundings, services.now());
      if (outcome.run !== run || outcome.seq !== seq)
        throw new ApiError("statement_invalid", "the statement is about another call");
      return outcome;
    };
    const resolved = await faultPoint("outcome.resolve", () => inTransaction(pool, resolve));
    const woken = await tellOutcome(services, run, resolved.id);
    return { outcome: viewOf((await outcomeById(pool, resolved.id)) ?? resolved), woken };
  },
};

/** The gate looks at it again: where the input has been erased, it is the one that refuses. */
export async function subjectOf({ keys }: Services, tx: Tx, run: RunId): Promise<readonly string[]> {
  const { input } = await existingRun(tx, run);
  const found = (await getPayloads(tx, keys, [input])).get(input);
  return found === undefined ? [] : subjectNames(found as unknown as RunInput);
}

async function existingOutcome(tx: Tx, run: RunId, seq: number): Promise<UnknownOutcome> {
  await existingRun(tx, run);
  const outcome = (await outcomesOf(tx, run)).find((one) => one.seq === seq);
  if (outcome === undefined) {
    throw new ApiError("outcome_not_found", `nobody asks what became of step ${seq} of run \`${run}\``, {
      hint: "see `countersign approvals list`",
    });
  }
  return outcome;
}

async function renderedCall({ pool, keys }: Services, outcome: UnknownOutcome): Promise<string> {
  const [run, steps] = await Promise.all([existingRun(pool, outcome.run), stepsOf(pool, outcome.run)]);
  const step = steps.find(({ seq }) => seq === outcome.seq);
  const asking = steps.find(({ seq }) => seq === step?.askedBy);
  const call = step === undefined ? undefined : await recordedCall(pool, keys, run, step, asking);
  return call === undefined ? "the call's contents are not here any more\n" : renderAction(call.action, call.tool);
}

function viewOf(outcome: UnknownOutcome): UnknownOutcomeView {
  const { resolution, openedAt, expiresAt, groups, ...rest } = outcome;
  const said = resolution === null ? undefined : readSigned(resolutionKind, resolution.statement);
  return {
    ...rest,
    groups: [...groups],
    openedAt: openedAt.toISOString(),
    expiresAt: expiresAt.toISOString(),
    resolvedBy: resolution?.reviewer ?? null,
    outcome: said?.outcome ?? null,
    reason: said?.reason ?? null,
  };
}
