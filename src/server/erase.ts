import { ApiError } from "../api/index.ts";
import type { RunId } from "../core/ids.ts";
import { appendToOutbox } from "../ledger/index.ts";
import {
  countPayloads,
  destroyDataKey,
  destroyRunKey,
  holdsOn,
  inTransaction,
  lockContents,
  runsToErase,
} from "../store/index.ts";
import type { ContentsOf, LegalHold, RunToErase, Tx } from "../store/index.ts";
import type { Services } from "./dependencies.ts";
import { payloadErased } from "./ledger-events.ts";

export type EraseRequest = {
  readonly of: ContentsOf;
  readonly reason: string;
  readonly cause: "request" | "retention";
  readonly by: string;
  /** Only look. */
  readonly dryRun?: boolean | undefined;
};

export type Erased = {
  readonly erased: boolean;
  readonly runs: number;
  readonly payloads: number;
  readonly before: number;
  readonly older: number;
  readonly teams: readonly string[];
  readonly obstacles: readonly string[];
};

/**
 * Erases contents: the key that they are under is destroyed, and each team's ledger says so, in one transaction, so that neither is without
 * the other. Throws `legal_hold`, `run_open`, or `nothing_to_erase` where there is no such run.
 */
export async function erase(services: Services, request: EraseRequest): Promise<Erased> {
  const { of, dryRun = false } = request;
  return inTransaction(services.pool, async (tx) => {
    await lockContents(tx, of);
    const found = await runsToErase(tx, of);
    if (found.length === 0) {
      throw new ApiError("nothing_to_erase", "there is no such run, and no run for such a subject", {
        hint: "the subject is the `--subject-id` that runs were started with, letter by letter",
      });
    }
    const holds = await holdsOn(tx, of);
    const left = found.filter(({ dataKey, erased }) => dataKey !== null && !erased);
    const obstacles = obstaclesIn(found, holds);
    const summary = {
      runs: left.length,
      // Nobody is there to be told how many a run that is past its time had.
      payloads:
        request.cause === "retention"
          ? 0
          : await countPayloads(
              tx,
              left.map(({ id }) => id),
            ),
      before: found.filter(({ erased }) => erased).length,
      older: found.filter(({ dataKey }) => dataKey === null).length,
      teams: [...new Set(left.map(({ team }) => team))].toSorted(),
      obstacles: obstacles.map(({ message }) => message),
    };
    if (dryRun) return { erased: false, ...summary };
    const [obstacle] = obstacles;
    if (obstacle !== undefined) throw obstacle;
    if (left.length === 0) return { erased: false, ...summary };
    await ("subject" in of ? eraseSubject : eraseRun)(tx, request, of as never, left, services.now());
    return { erased: true, ...summary };
  });
}

function obstaclesIn(found: readonly RunToErase[], holds: readonly LegalHold[]): readonly ApiError[] {
  const open = found.filter(({ closed }) => !closed);
  const ending = found.filter(({ closed, archived }) => closed && !archived);
  return [
    ...holds.map(
      ({ id, reason }) =>
        new ApiError("legal_hold", `hold ${id} stands: ${reason}`, {
          hint: "who may lift it does: countersign hold lift HOLD --reason TEXT",
        }),
    ),
    ...(open.length === 0
      ? []
      : [
          new ApiError(
            "run_open",
            `${open.length} of them ${open.length === 1 ? "is" : "are"} still at work: ${namesOf(open)}`,
            {
              hint: "wait for them, or cancel them: countersign run cancel RUN",
            },
          ),
        ]),
    ...(ending.length === 0
      ? []
      : [
          new ApiError("run_open", `the workflow histories of ${namesOf(ending)} are being archived`, {
            hint: "try again in a moment",
          }),
        ]),
  ];
}

function namesOf(runs: readonly RunToErase[]): string {
  const shown = runs.slice(0, 5).map(({ id }) => id);
  return runs.length > shown.length ? `${shown.join(", ")}, …` : shown.join(", ");
}

async function eraseSubject(
  tx: Tx,
  { reason, cause, by }: EraseRequest,
  { subject }: { readonly subject: string },
  _left: readonly RunToErase[],
  now: Date,
): Promise<void> {
  const destroyed = await destroyDataKey(tx, subject, now);
  if (destroyed === undefined) throw new ApiError("nothing_to_erase", "the subject has no key in use");
  const { dataKey, runs } = destroyed;
  const byTeam = Map.groupBy(runs, ({ team }) => team);
  await appendToOutbox(
    tx,
    [...byTeam].map(([team, own]) => payloadErased(team, { dataKey }, { cause, reason, runs: own.length }, by, now)),
  );
}

async function eraseRun(
  tx: Tx,
  { reason, cause, by }: EraseRequest,
  { run }: { readonly run: RunId },
  [left]: readonly RunToErase[],
  now: Date,
): Promise<void> {
  if (left === undefined || !(await destroyRunKey(tx, run, now)))
    throw new ApiError("nothing_to_erase", "the run has no key of its own");
  await appendToOutbox(tx, [payloadErased(left.team, { run }, { cause, reason, runs: 1 }, by, now)]);
}
