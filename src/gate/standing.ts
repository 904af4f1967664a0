import { approvalsGiven, grantVotes, lockGrantsFor, recordGrantUse } from "../approvals/index.ts";
import type { GrantRow } from "../approvals/index.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { amountCovered } from "../core/standing-grant.ts";
import { appendToOutbox } from "../ledger/index.ts";
import { parsePolicySet } from "../policy/index.ts";
import type { Approved } from "../policy/index.ts";
import { policySetByDigest } from "../registry/index.ts";
import { digestOf, sha256 } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import { editIn } from "./edited.ts";
import { isBudgetPolicy } from "../core/budget.ts";
import type { Judged, Question } from "./judge.ts";
import { runEvent } from "./run-event.ts";

export type GrantOffer = { readonly grant: GrantRow; readonly amount: number; readonly approved: readonly Approved[] };

/**
 * A standing grant for the call, with its row locked, and the approvals that it stands for: what the policy asks for has to be all in it,
 * by the same policies, word for word. Its bounds, signatures and people are checked here, from the database. Budgets are given by people.
 */
export async function offeredGrant(
  tx: Tx,
  { run, step, policySet, at }: Question,
  { decision, effective, exhausted }: Judged,
): Promise<GrantOffer | undefined> {
  if (step.kind !== "tool" || step.tool === undefined || editIn(step) !== undefined) return undefined;
  if (decision.outcome !== "require_approval" || exhausted.length > 0) return undefined;
  if (decision.requirements.some(({ policy }) => isBudgetPolicy(policy))) return undefined;
  const candidates = await lockGrantsFor(tx, { team: run.team, agent: run.agent, tool: step.name, now: at });
  if (candidates.length === 0) return undefined;
  const { policies } = parsePolicySet((await policySetByDigest(tx, policySet)).document);
  const textOf = new Map(policies.map(({ id, text }) => [id, sha256(text)]));
  const toolDigest = digestOf(step.tool as unknown as Json);
  for (const grant of candidates) {
    const { document } = grant;
    const amount = amountLeft(grant, effective ?? step.args);
    if (amount === undefined || document.toolDigest !== toolDigest || new Date(document.expiresAt) <= at) continue;
    const asked = decision.requirements.every(({ policy, group, quorum }) =>
      document.requirements.some(
        (one) =>
          one.policy === policy && one.group === group && one.quorum >= quorum && one.text === textOf.get(policy),
      ),
    );
    if (!asked || document.team !== run.team || document.agent !== run.agent || document.tool !== step.name) continue;
    const approved = approvalsGiven(grant, await grantVotes(tx, grant.id), [run.requestedBy]);
    const met = document.requirements.every(({ quorum }, index) => (approved[index]?.approvals ?? 0) >= quorum);
    if (met) return { grant, amount, approved };
  }
  return undefined;
}

function amountLeft({ document, uses, sum }: GrantRow, args: JsonObject): number | undefined {
  const amount = amountCovered(document, args);
  if (amount === undefined || uses >= document.maxUses) return undefined;
  return document.sum !== undefined && sum + amount > document.sum.max ? undefined : amount;
}

/** Takes the use that was offered, in the transaction of the decision that names it. */
export async function takeGrant(tx: Tx, { run, step, at }: Question, { grant, amount }: GrantOffer): Promise<void> {
  await recordGrantUse(tx, { grant, run: run.id, seq: step.seq, amount, now: at });
  await appendToOutbox(tx, [
    runEvent(run, "grant.used", `grant/${grant.id}/${grant.uses}`, at, {
      grant: grant.id,
      document: grant.digest,
      seq: step.seq,
      n: grant.uses,
      amount,
      sum: grant.sum + amount,
    }),
  ]);
}
