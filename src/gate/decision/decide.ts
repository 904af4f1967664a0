import { codeOf } from "../../core/errors.ts";
import { verdictOf } from "../../policy/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Pool } from "../../store/index.ts";
import { decideAfterWaiting } from "../approved/after-waiting.ts";
import { conclude, unlessAhead } from "../approved/ask-people.ts";
import { detectedInEdits } from "../approved/detected-edits.ts";
import { GateError } from "../errors.ts";
import { createHistoryCounter, lockHistory } from "../history/history.ts";
import type { HistoryCounter } from "../history/history.ts";
import { since } from "../moment.ts";
import type { GateOptions } from "../options.ts";
import { decided, toRecord } from "./decided.ts";
import type { Decided } from "./decided.ts";
import type { Deciding, DecisionRequest } from "./deciding.ts";
import { createDetection } from "./detection.ts";
import type { Detection } from "./detection.ts";
import { actionOf, judge, locksFor } from "./judge.ts";
import type { Judged, Question } from "./judge.ts";
import { policiesFor } from "./policies.ts";
import { createRemote } from "./remote.ts";
import type { Asking } from "./remote.ts";
import { createShadow } from "./shadow.ts";
import type { Shadow } from "./shadow.ts";
import { createDecisionWriter } from "./write-decisions.ts";

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
