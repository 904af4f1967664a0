import { standingMatches, subjectNames, takeStanding, toolDigest } from "../../approvals/index.ts";
import type { StandingClaim, StandingUse } from "../../approvals/index.ts";
import type { Approved } from "../../core/approved.ts";
import { barredText } from "../../core/decision.ts";
import type { JsonObject } from "../../core/json.ts";
import type { LedgerEvent } from "../../core/ledger-event.ts";
import type { Tx } from "../../store/index.ts";
import type { Judged, Question } from "../decision/judge.ts";
import { runEvent } from "../run/event.ts";
import { approvedAhead } from "./ahead.ts";
import { editIn } from "./edit.ts";

/**
 * The standing grant that takes the place of the approval that `judged` asks for, with what the policies say then; undefined where there is
 * none, and people are asked. They are asked as well about whatever is no plain tool call: models, sources, what a reviewer has changed, and
 * what a budget has no room for. `again` asks the policies with approvals given; what they deny then stays as it was.
 */
export async function standingInstead(
  tx: Tx,
  { run, step, at }: Question,
  { decision, exhausted }: Judged,
  again: (approved: readonly Approved[]) => Promise<Judged>,
  now: () => Date,
): Promise<{ readonly judged: Judged; readonly use: StandingUse } | undefined> {
  if (decision.outcome !== "require_approval" || exhausted.length > 0) return undefined;
  if (step.kind !== "tool" || editIn(step) !== undefined) return undefined;
  const tool = run.release.document.tools.find(({ name }) => name === step.name);
  if (tool === undefined) return undefined;
  const { requirements } = decision;
  const claimWith = (args: JsonObject): StandingClaim => ({
    run,
    tool: step.name,
    toolDigest: toolDigest(tool),
    args,
    requirements,
    subject: subjectNames(run.input),
    now: at,
  });
  // Most tools have none: one look, before anything is decided again.
  if ((await standingMatches(tx, claimWith(step.args))).length === 0) return undefined;
  const judged = await again(approvedAhead(requirements));
  if (judged.decision.outcome !== "allow" || judged.exhausted.length > 0) return undefined;
  // What the policies made of the call is what would be made: it has to match as well.
  const claim = claimWith(judged.effective ?? step.args);
  // It holds as of the decision, and still: a remote decision point may have taken its time.
  const use = await takeStanding(tx, await standingMatches(tx, claim), { ...claim, now: now() });
  return use === undefined ? undefined : { judged, use };
}

/** Of the run's own entries: which use it was, and what uses come to with it. */
export function standingUsed(
  { run, step, at }: Question,
  { grant, n, amount, total, barred }: StandingUse,
): LedgerEvent {
  return runEvent(run, "standing.used", `${step.seq}/standing`, at, {
    grant: grant.id,
    terms: grant.termsDigest,
    seq: step.seq,
    n,
    amount,
    total,
    barred: barred.map(barredText),
  });
}
