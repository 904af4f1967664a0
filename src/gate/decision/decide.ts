import {
  barredFrom,
  cancelRequest,
  checkGrant,
  consumeGrant,
  editBehind,
  editOf,
  expireRequest,
  linkSuccessor,
  openRequest,
  requestById,
  subjectNames,
  writeStandingUse,
} from "../../approvals/index.ts";
import type { Edit } from "../../approvals/index.ts";
import { shortfallOf } from "../../core/approved.ts";
import type { Approved } from "../../core/approved.ts";
import { isBudgetPolicy, noAmounts } from "../../core/budget.ts";
import type { BudgetFacts, Exhausted } from "../../core/budget.ts";
import { cosigningOf } from "../../core/decision.ts";
import type { ApprovalRequirement, DenialCode, Decision, RunFacts } from "../../core/decision.ts";
import { codeOf } from "../../core/errors.ts";
import type { ApprovalId, Digest } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { TokenPrice } from "../../core/money.ts";
import type { RunFailureCode } from "../../core/run.ts";
import type { ToolResult } from "../../core/transcript.ts";
import { faultPoint } from "../../faults/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import type { Cosigners } from "../../ledger/index.ts";
import { verdictOf } from "../../policy/index.ts";
import type { Detected, DetectorOptions, RemoteOptions } from "../../policy/index.ts";
import { canonicalText, contentDigest, inTransaction, sealPayload, writeSealed } from "../../store/index.ts";
import type { PayloadKeys, Pool, SealedPayload, Tx } from "../../store/index.ts";
import { exhaustedBy, isShadow } from "./asked.ts";
import { extendBudgets } from "../budgets/budgets.ts";
import { detectedInEdits } from "../approved/detected-edits.ts";
import { createDetection } from "./detection.ts";
import type { Detection } from "./detection.ts";
import { editIn } from "../approved/edit.ts";
import { editedStep } from "../approved/edited.ts";
import { GateError } from "../errors.ts";
import { sealingIn } from "../governed-call.ts";
import type { RunContext } from "../governed-call.ts";
import { createHistoryCounter, lockHistory } from "../history/history.ts";
import type { HistoryCounter } from "../history/history.ts";
import { actionOf, denial, judge, locksFor, policiesFor } from "./judge.ts";
import type { Judged, Question } from "./judge.ts";
import { since } from "../moment.ts";
import { givenBeyond, renderCall } from "../approved/rendered.ts";
import { requestedEvent } from "../approved/requested-event.ts";
import { runEvent } from "../run/event.ts";
import type { Standing } from "../step/record.ts";
import { madeWith } from "../step/resolve.ts";
import type { ResolvedStep } from "../step/resolve.ts";
import type { RunCache } from "../run/cache.ts";
import { createRemote } from "./remote.ts";
import type { Asking } from "./remote.ts";
import { createShadow } from "./shadow.ts";
import type { Shadow } from "./shadow.ts";
import { standingInstead, standingUsed } from "../approved/standing-grant.ts";
import { changedMeanwhile, createDecisionWriter, writeDecision } from "./write-decisions.ts";
import type { DecisionToRecord } from "./write-decisions.ts";

export type GateOptions = {
  readonly pool: Pool;
  readonly keys: PayloadKeys;
  readonly cache: RunCache;
  readonly priceOf: (model: string) => TokenPrice | undefined;
  readonly environment: RunFacts["environment"];
  /** A decision point that is asked too (OpenID AuthZEN), and can only deny more; absent: none. */
  readonly remote?: RemoteOptions | undefined;
  /** Another detector of personal data in contents (a Presidio analyzer); absent: none. What it does not answer is denied. */
  readonly detector?: DetectorOptions | undefined;
  /** Whose cosignatures count for calls that wait for witnesses; absent: nobody's, and such calls are not made. */
  readonly cosigners?: Cosigners | undefined;
  /** Short, repeatable tools go through local activities. */
  readonly fastLane: boolean;
  /** What runs that are not in the database add to history facts, by name: for a fork. Absent: all runs are in it. */
  readonly historyBeyond?: Readonly<Record<string, number>> | undefined;
  /** The worker's clock: when what it did ended. */
  readonly now: () => Date;
  /** In the place of Postgres' clock, by which decisions, windows and months go: a test's, a fork's. */
  readonly clock?: (() => Date) | undefined;
};

type DecisionRequest = {
  readonly run: RunContext;
  readonly step: ResolvedStep;
  readonly standing: Standing;
  readonly activity: string;
  readonly grant: ApprovalId | undefined;
};

/** A step on its way to a decision: one moment for all that is judged, counted and written of it. */
type Deciding = DecisionRequest &
  Question & {
    readonly keys: PayloadKeys;
    readonly count: HistoryCounter;
    /** What another detector says of the call as a reviewer changed it. */
    readonly detectedEdited: (step: ResolvedStep) => Detected | undefined;
    /** Lets a candidate decide beside, once this is decided. */
    readonly beside: (judged: Judged) => void;
    /** What time it is by now; all is decided as of `at`. */
    readonly now: () => Date;
  };

type Decided =
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

/** The end of a step's first half: everything about it is decided and written in one transaction, or nothing is. */
export function createDecider(
  options: GateOptions,
  count = createHistoryCounter(options.keys, options.historyBeyond),
  shadow = createShadow(options.pool, options.now, count),
  decideRemotely = createRemote(options.remote),
): (request: DecisionRequest) => Promise<Decided> {
  const { pool } = options;
  const writeTogether = createDecisionWriter(pool);
  const detection = createDetection(options.detector);
  return async (request) => {
    try {
      const prepared = await prepare(options, count, detection, request);
      const locks = locksFor(prepared);
      const waited = request.standing.state === "waiting" || request.grant !== undefined;
      let judgedOn: Judged | undefined;
      const decideOnce = async (asking: Asking | undefined): Promise<Decided> => {
        judgedOn = undefined;
        const beside = (judged: Judged) => void (judgedOn = judged);
        const deciding = { ...prepared, remote: asking?.told, beside };
        if (!waited && locks.length === 0) return decideAtOnce(pool, writeTogether, deciding, asking);
        return inTransaction(pool, async (tx) => {
          await lockHistory(tx, locks);
          if (waited) return decideAfterWaiting(tx, deciding);
          return conclude(tx, deciding, await judge(tx, count, deciding, []));
        });
      };
      const decided = await decideRemotely(locks, decideOnce, unsettled);
      if (judgedOn !== undefined) decideBeside(shadow, prepared, judgedOn);
      return decided;
    } catch (error) {
      const code = codeOf(error);
      if (error instanceof GateError && (code === "limit_steps" || code === "limit_cost")) {
        return { status: "halted", code, message: error.message };
      }
      throw error;
    }
  };
}

/** Others, each by its own decision, have changed what this one goes by: no reason to deny it, and Temporal tries it again. */
function unsettled(): never {
  throw new GateError("unsettled", "what the step is decided by kept changing while a remote decision point was asked");
}

async function prepare(
  options: GateOptions,
  count: HistoryCounter,
  detection: Detection,
  request: DecisionRequest,
): Promise<Omit<Deciding, "beside">> {
  const now = since(request.standing.at);
  const { run, standing } = request;
  const { policySet } = standing;
  if (policySet === null) {
    throw new GateError("no_policy", `team \`${run.team}\` has no active policy set`, {
      hint: "activate one: countersign policy activate DIR",
    });
  }
  const policies = await policiesFor(options.pool, policySet, run);
  const { environment, keys } = options;
  const { step } = request;
  const slice = policies?.slices.get(actionOf(step));
  const detected = await detection.ofStep(run.id, step, slice);
  const asked = { run, step, standing, policySet, policies, at: standing.at };
  const question = { ...asked, environment, remote: undefined, detected };
  const detectedEdited = await detectedInEdits(options, detection, request, slice);
  return { ...request, ...question, keys, count, detectedEdited, now };
}

/** What no policy was asked about has nothing to be compared with. */
function decideBeside(shadow: Shadow, { run, step, policies }: Question, judged: Judged): void {
  if (step.refusal !== undefined) return;
  const actual = verdictOf(judged.policyDecision, judged.effective);
  shadow.beside({ run, step, isAnswer: false, facts: () => judged.facts, counted: policies?.history ?? [], actual });
}

/** Nothing that others write is counted: the decision is written in one trip, and may share it with others. */
async function decideAtOnce(
  pool: Pool,
  writeTogether: ReturnType<typeof createDecisionWriter>,
  deciding: Deciding,
  asking: Asking | undefined,
): Promise<Decided> {
  // No transaction is open yet.
  const judged = await judge(pool, deciding.count, { ...deciding, remote: asking?.ask }, []);
  deciding.beside(judged);
  if (judged.decision.outcome === "require_approval")
    return inTransaction(pool, (tx) => unlessAhead(tx, deciding, judged));
  const record = toRecord(deciding, judged, undefined);
  await writeTogether(record);
  return decided(record);
}

async function conclude(tx: Tx, deciding: Deciding, judged: Judged): Promise<Decided> {
  deciding.beside(judged);
  return judged.decision.outcome === "require_approval"
    ? unlessAhead(tx, deciding, judged)
    : write(tx, deciding, judged, undefined);
}

/** Asks people, unless they have said so ahead: then it is a use of what they gave, counted where it is written. */
async function unlessAhead(tx: Tx, deciding: Deciding, asking: Judged): Promise<Decided> {
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

/**
 * The step waited for people, or says that it did. Which request it waits for is taken from the record; a workflow that names another
 * is denied. The grant is checked, the policy is asked again, and the grant is consumed in the transaction that allows.
 */
async function decideAfterWaiting(tx: Tx, deciding: Deciding): Promise<Decided> {
  const { standing, grant: presented } = deciding;
  const waitedFor = standing.state === "waiting" ? standing.lastApproval : null;
  if (waitedFor === null || (presented !== undefined && presented !== waitedFor)) {
    const text = "the step does not wait for the approval that was presented";
    return refuse(tx, deciding, "invalid_grant", text, presented);
  }
  const behind = await editBehind(tx, waitedFor);
  if (behind === undefined) return decideRequested(tx, deciding, waitedFor);
  const edited = await onEdit(tx, deciding, behind);
  return edited === undefined
    ? refuse(tx, deciding, "invalid_grant", unheldEdit, waitedFor)
    : decideRequested(tx, edited, waitedFor);
}

const unheldEdit =
  "a reviewer had changed the call, and that change does not hold: it is taken back, and nothing was done, neither as they had it nor as you asked";

/** The same for the call as a reviewer changed it; undefined where what they signed does not hold. */
async function onEdit(tx: Tx, deciding: Deciding, edit: Edit): Promise<Deciding | undefined> {
  const step = await editedStep(tx, deciding.keys, deciding.step, edit, subjectNames(deciding.run.input));
  // A candidate is asked about calls as agents make them.
  if (step === undefined) return undefined;
  return { ...deciding, step, detected: deciding.detectedEdited(step), beside: () => undefined };
}

async function decideRequested(tx: Tx, deciding: Deciding, waitedFor: ApprovalId): Promise<Decided> {
  const { run, step, at } = deciding;
  const grant = await checkGrant(tx, {
    request: waitedFor,
    actionDigest: step.actionDigest,
    run: run.id,
    seq: step.seq,
    now: at,
    subject: subjectNames(run.input),
  });
  switch (grant.status) {
    case "pending":
      return { status: "waiting", request: waitedFor, expiresAt: grant.expiresAt.getTime() };
    case "denied":
      return unlessBudget(tx, waitedFor, await refuse(tx, deciding, "declined", declineText(grant.reason), waitedFor));
    case "expired":
      if (await expireRequest(tx, waitedFor, at)) {
        const facts = { approval: waitedFor, seq: step.seq };
        await appendToOutbox(tx, [runEvent(run, "approval.expired", `approval/${waitedFor}/expired`, at, facts)]);
      }
      return unlessBudget(
        tx,
        waitedFor,
        await refuse(tx, deciding, "approval_expired", expiryText(grant.approved), waitedFor),
      );
    case "cancelled":
      return decideEdited(tx, deciding, waitedFor, grant.reason);
    case "invalid":
      return refuse(tx, deciding, "invalid_grant", grant.reason, waitedFor);
    case "granted":
      return useGrant(tx, deciding, waitedFor, grant.approvals);
  }
}

/** A request that an edit ended: the new action is decided on as any other, with no approval given. */
async function decideEdited(tx: Tx, deciding: Deciding, request: ApprovalId, reason: string): Promise<Decided> {
  const edit = await editOf(tx, request);
  if (edit === undefined) return refuse(tx, deciding, "invalid_grant", reason, request);
  const edited = await onEdit(tx, deciding, edit);
  if (edited === undefined) return refuse(tx, deciding, "invalid_grant", unheldEdit, request);
  return conclude(tx, edited, await judge(tx, deciding.count, edited, []));
}

async function useGrant(
  tx: Tx,
  deciding: Deciding,
  approval: ApprovalId,
  approved: readonly Approved[],
): Promise<Decided> {
  const { run, step, standing, at } = deciding;
  const judged = await judge(tx, deciding.count, deciding, approved);
  if (judged.decision.outcome === "deny") return write(tx, deciding, judged, approval);
  const shown = await shownTo(tx, approval);
  const isShort = isSpentSince(run, judged, shown);
  if (isShort && judged.policyDecision.outcome === "allow" && editIn(step) === undefined)
    return askAgain(tx, deciding, approval);
  if (isShort || judged.decision.outcome === "require_approval") {
    return refuse(tx, deciding, "invalid_grant", moreAsked(judged, approved), approval);
  }
  const effective = effectiveOf(deciding, judged);
  if (standing.lastEffective !== (effective === undefined ? null : contentDigest(run.salt, effective))) {
    return refuse(tx, deciding, "invalid_grant", changedSince, approval);
  }
  if (!isShownAsMade(deciding, shown, judged.effective))
    return refuse(tx, deciding, "invalid_grant", shownOtherwise, approval);
  if (hasRunOut(deciding, shown.expiresAt)) throw changedMeanwhile();
  if (!(await faultPoint("approval.consume", () => consumeGrant(tx, approval, at)))) {
    return refuse(tx, deciding, "invalid_grant", "the approval was used before", approval);
  }
  const facts = { approval, seq: step.seq };
  await appendToOutbox(tx, [runEvent(run, "approval.consumed", `approval/${approval}/consumed`, at, facts)]);
  if (judged.exhausted.length === 0) return write(tx, deciding, judged, approval);
  // Contents before budgets, as every decision locks them.
  if (effective !== undefined) await writeSealed(tx, [sealPayload(sealingIn(run), effective)]);
  const extension = { run, seq: step.seq, standing, exhausted: judged.exhausted, approval, now: at };
  return write(tx, { ...deciding, standing: await extendBudgets(tx, extension) }, judged, approval);
}

/** Whether it holds as of the decision and no longer: a remote decision point took its time. It is looked at again then, as of now. */
function hasRunOut({ now }: Deciding, expiresAt: Date | undefined): boolean {
  return expiresAt !== undefined && expiresAt <= now();
}

/** What people were shown before they approved: the text's digest, and the budgets that had no room when they were asked. */
type Shown = {
  readonly rendered: Digest | undefined;
  readonly exhausted: readonly Exhausted[];
  readonly expiresAt: Date | undefined;
};

async function shownTo(tx: Tx, approval: ApprovalId): Promise<Shown> {
  const { rows } = await tx.query<{ rendered: Digest; budget: BudgetFacts | null; expiresAt: Date }>(
    `select request.rendered, asked.facts -> 'budget' as budget, request.expires_at as "expiresAt"
     from approval_request request
     join decision asked on asked.run = request.run and asked.approval = request.id and asked.outcome = 'require_approval'
     where request.id = $1`,
    [approval],
  );
  const { rendered, expiresAt, budget } = rows[0] ?? {};
  return { rendered, expiresAt, exhausted: exhaustedBy(budget ?? undefined) };
}

/** Whether the step needs more beyond budgets than the people who approved it were shown. */
function isSpentSince(run: RunContext, { exhausted: over }: Judged, shown: Shown): boolean {
  const before = new Map(shown.exhausted.map((one) => [one.name, givenBeyond(run, one)]));
  return over.some((one) => {
    const [now, then] = [givenBeyond(run, one), before.get(one.name) ?? noAmounts];
    return now.microUsd > then.microUsd || now.tokens > then.tokens || now.calls > then.calls;
  });
}

/** What was approved is out of date, and nothing of it is used: the run waits until people have seen how its budgets stand now. */
async function askAgain(tx: Tx, deciding: Deciding, approval: ApprovalId): Promise<Decided> {
  const { run, step, at } = deciding;
  await cancelRequest(tx, approval);
  const facts = { approval, seq: step.seq };
  await appendToOutbox(tx, [runEvent(run, "approval.cancelled", `approval/${approval}/cancelled`, at, facts)]);
  const judged = await judge(tx, deciding.count, deciding, []);
  return judged.decision.outcome === "require_approval"
    ? askPeople(tx, deciding, judged)
    : write(tx, deciding, judged, undefined);
}

export const changedSince = "the policy has changed what would be done since it was shown to the reviewers";

/** What a grant was signed on was not the text of its action: rows can be written past the code that makes it. */
export const shownOtherwise = "what its reviewers were shown is not this call";

/** Whether reviewers were shown this very call: the text is made again, with what the budgets lacked when they were asked. */
function isShownAsMade(
  { run, step }: Deciding,
  { rendered, exhausted }: Shown,
  effective: JsonObject | undefined,
): boolean {
  return rendered === contentDigest(run.salt, renderCall(run, step, { effective, exhausted }));
}

/** Why an approval does not do any more: a budget was spent meanwhile, or the policies ask for something else. */
function moreAsked({ policyDecision, exhausted }: Judged, approved: readonly Approved[]): string {
  if (policyDecision.outcome === "require_approval" || exhausted.length === 0)
    return moreAskedText(policyDecision, approved);
  return `since the approval, ${exhausted.map(({ reason }) => reason.text).join("; ")}`;
}

/** The same of what policies ask for: in which terms they ask for more than people were asked for. */
export function moreAskedText(decision: Decision, approved: readonly Approved[]): string {
  const asked = decision.outcome === "require_approval" ? decision.requirements : [];
  const shortfalls = asked.flatMap((requirement) => shortfallOf(requirement, approved) ?? []);
  return ["the policy has changed, and now asks for an approval that was not given", ...shortfalls].join("; ");
}

/** Where nobody gave more room, the run ends as one that has none. */
async function unlessBudget(tx: Tx, approval: ApprovalId, refused: Decided): Promise<Decided> {
  const request = await requestById(tx, approval);
  if (refused.status !== "denied" || request === undefined) return refused;
  if (!request.requirements.every(({ policy }) => isBudgetPolicy(policy))) return refused;
  return { status: "halted", code: "limit_cost", message: `a budget is used up: ${refused.text}` };
}

export function expiryText(approved: boolean): string {
  return approved ? "it was approved, but not used before the approval expired" : "nobody decided in time";
}

function declineText(reason: string | undefined): string {
  return reason === undefined || reason === "" ? "a reviewer declined" : `a reviewer declined: ${reason}`;
}

/** What is denied anyway is not asked about elsewhere. */
const nobodyElse = { remote: undefined, detected: undefined } as const;

/** A denial that is the gate's own, after waiting. */
async function refuse(
  tx: Tx,
  deciding: Deciding,
  code: DenialCode,
  text: string,
  approval: ApprovalId | undefined,
): Promise<Decided> {
  const { facts, policySet, request } = await judge(tx, deciding.count, { ...deciding, ...nobodyElse }, []);
  const decision = denial(code, text);
  return write(
    tx,
    deciding,
    { facts, policySet, request, exhausted: [], decision, policyDecision: decision },
    approval,
  );
}

async function write(tx: Tx, deciding: Deciding, judged: Judged, approval: ApprovalId | undefined): Promise<Decided> {
  const record = toRecord(deciding, judged, approval);
  await writeDecision(tx, record);
  const made = decided(record);
  return made.status === "allowed" && editIn(deciding.step) !== undefined ? { ...made, step: deciding.step } : made;
}

function decided({ decision, effective, cosigned }: DecisionToRecord): Decided {
  if (decision.outcome === "deny") return { status: "denied", text: denialText(decision) };
  return {
    status: "allowed",
    shadow: isShadow(decision),
    awaitsWitnesses: cosigned !== undefined,
    ...(effective === undefined ? {} : { effective: effective.value as JsonObject }),
  };
}

/** The arguments that the call is made with, where they are not those that the agent gave. */
function effectiveOf({ step }: Deciding, { decision, effective }: Judged): JsonObject | undefined {
  if (decision.outcome === "deny" || step.kind === "model" || editIn(step) === undefined) return effective;
  return effective ?? step.args;
}

async function askPeople(tx: Tx, deciding: Deciding, judged: Judged): Promise<Decided> {
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

function toRecord(deciding: Deciding, judged: Judged, approval: ApprovalId | undefined): DecisionToRecord {
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
