import { barredFrom, linkSuccessor, openRequest, subjectNames, writeStandingUse } from "../../approvals/index.ts";
import type { Approved } from "../../core/approved.ts";
import type { ApprovalRequirement } from "../../core/decision.ts";
import type { JsonObject } from "../../core/json.ts";
import { faultPoint } from "../../faults/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { sealPayload, writeSealed } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import { decided, toRecord, writeDecided } from "../decision/decided.ts";
import type { Decided } from "../decision/decided.ts";
import type { Deciding } from "../decision/deciding.ts";
import { judge } from "../decision/judge.ts";
import type { Judged } from "../decision/judge.ts";
import { writeDecision } from "../decision/write-decisions.ts";
import { sealingIn } from "../governed-call.ts";
import { editIn } from "./edit.ts";
import { renderCall } from "./rendered.ts";
import { requestedEvent } from "./request-events.ts";
import { standingInstead, standingUsed } from "./standing-grant.ts";

/** Writes what was judged, or asks people where the policies or budgets do. */
export async function conclude(tx: Tx, deciding: Deciding, judged: Judged): Promise<Decided> {
  deciding.beside(judged);
  return judged.decision.outcome === "require_approval"
    ? unlessAhead(tx, deciding, judged)
    : writeDecided(tx, deciding, judged, undefined);
}

/** Asks people, unless they have said so ahead: then it is a use of what they gave, counted where it is written. */
export async function unlessAhead(tx: Tx, deciding: Deciding, asking: Judged): Promise<Decided> {
  const again = (approved: readonly Approved[]): Promise<Judged> => judge(tx, deciding.count, deciding, approved);
  const ahead = await standingInstead(tx, deciding, asking, again, deciding.now);
  if (ahead === undefined) return askPeople(tx, deciding, asking);
  const { judged, use } = ahead;
  await appendToOutbox(tx, [standingUsed(deciding, use)]);
  const record = { ...toRecord(deciding, judged, undefined), standingGrant: use.grant.id };
  await writeDecision(tx, record);
  await writeStandingUse(tx, use, { run: deciding.run.id, seq: deciding.step.seq }, deciding.at);
  return decided(record);
}

/** Opens a request on the call as it would be made, with all its terms, and writes the decision that asks. */
export async function askPeople(tx: Tx, deciding: Deciding, judged: Judged): Promise<Decided> {
  const { run, step, at } = deciding;
  if (judged.decision.outcome !== "require_approval")
    throw new TypeError("only a decision that asks for people opens a request");
  const { requirements } = judged.decision;
  const sealed = sealPayload(sealingIn(run), renderCall(run, step, judged));
  const expiresAt = new Date(at.getTime() + Math.min(...requirements.map((requirement) => requirement.expiresMs)));
  const barred = await barredFrom(tx, run.id, subjectNames(run.input));
  await writeSealed(tx, [sealed]);
  const request = {
    run: run.id,
    seq: step.seq,
    team: run.team,
    action: step.actionDigest,
    name: step.name,
    rendered: sealed.digest,
    requirements,
    policySet: judged.policySet,
    openedAt: at,
    expiresAt,
    barred,
    amount: amountOf(requirements, judged.effective ?? (step.kind === "tool" ? step.args : {})),
  };
  const id = await faultPoint("approval.open", () => openRequest(tx, request));
  const edit = editIn(step);
  if (edit !== undefined) await linkSuccessor(tx, edit.request, id);
  const record = toRecord(deciding, judged, id);
  await writeDecision(tx, record);
  await appendToOutbox(tx, [requestedEvent(run, id, request)]);
  return { status: "waiting", request: id, expiresAt: expiresAt.getTime() };
}

/** The largest of the amounts that requirements name; null where one of them is no whole number from 0, or none is named. */
function amountOf(requirements: readonly ApprovalRequirement[], args: JsonObject): number | null {
  const amounts = requirements.flatMap(({ amount }) => (amount === undefined ? [] : [args[amount]]));
  const known = amounts.filter((value) => typeof value === "number" && Number.isSafeInteger(value) && value >= 0);
  return amounts.length === 0 || known.length < amounts.length ? null : Math.max(...(known as number[]));
}
