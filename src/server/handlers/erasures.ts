import { ApiError } from "../../api/index.ts";
import type { HoldView } from "../../api/index.ts";
import type { RunId } from "../../core/ids.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import {
  holdsOn,
  inTransaction,
  liftHold,
  listHolds,
  lockContents,
  placeHold,
  retentionsInForce,
  runsPastRetention,
  runsToErase,
  setRetention,
  subjectKey,
} from "../../store/index.ts";
import type { ContentsOf, LegalHold, Tx } from "../../store/index.ts";
import type { Services } from "../dependencies.ts";
import { erase } from "../erase.ts";
import type { Handlers } from "../handler.ts";
import { holdChanged, retentionChanged } from "../ledger-events.ts";
import { assertTeam } from "../known-team.ts";
import { existingRun } from "./runs.ts";

const holdsShown = 500;
const dueShown = 1_000;

type Target = { readonly subject?: string | undefined; readonly run?: RunId | undefined };

export const erasureHandlers: Handlers<
  "erase" | "placeHold" | "liftHold" | "listHolds" | "setRetention" | "listRetentions"
> = {
  async erase({ body }, { services, caller }) {
    const { reason, dryRun } = body;
    const { teams, obstacles, ...rest } = await erase(services, {
      of: contentsOf(services, body),
      reason,
      dryRun,
      cause: "request",
      by: caller().id,
    });
    return { ...rest, teams: [...teams], obstacles: [...obstacles] };
  },

  async placeHold({ body }, { services, caller }) {
    if (body.run !== undefined) await existingRun(services.pool, body.run);
    const of = contentsOf(services, body);
    const by = caller().id;
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      await lockContents(tx, of);
      const hold = await placeHold(tx, of, { reason: body.reason, by, now });
      await appendToOutbox(tx, [holdChanged("hold.placed", hold, body.reason, by, now)]);
      return { hold: viewOfHold(hold), runs: (await runsToErase(tx, of)).length };
    });
  },

  async liftHold({ body }, { services, caller }) {
    const by = caller().id;
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      const id = body.hold ?? (await onlyHold(tx, contentsOf(services, body)));
      const hold = await liftHold(tx, id, { reason: body.reason, by, now });
      if (hold === undefined) throw noHold();
      await appendToOutbox(tx, [holdChanged("hold.lifted", hold, body.reason, by, now)]);
      return { hold: viewOfHold(hold) };
    });
  },

  async listHolds({ body }, { services }) {
    const { pool } = services;
    const of = body.subject === undefined && body.run === undefined ? undefined : contentsOf(services, body);
    const holds = of === undefined ? await listHolds(pool, body.all === true, holdsShown) : await holdsOn(pool, of);
    return { holds: holds.map(viewOfHold) };
  },

  async setRetention({ body }, { services, caller }) {
    const { team, days, effects = {}, reason, dryRun = false } = body;
    const by = caller().id;
    const now = services.now();
    await assertTeam(services.pool, team);
    const due = await runsPastRetention(services.pool, { team, days, effects: effects as never }, now, dueShown);
    if (dryRun) return { set: false, due: [...due] };
    await inTransaction(services.pool, async (tx) => {
      const event = await setRetention(tx, { team, days, effects: effects as never }, { reason, by, now });
      await appendToOutbox(tx, [retentionChanged(team, { days, effects, reason }, event, by, now)]);
    });
    return { set: true, due: [...due] };
  },

  async listRetentions(_request, { services, caller }) {
    const now = services.now();
    const { teams } = caller();
    const retentions = (await retentionsInForce(services.pool)).filter(({ team }) => teams?.includes(team) !== false);
    return {
      retentions: await Promise.all(
        retentions.map(async ({ at, ...one }) => ({
          ...one,
          effects: { ...one.effects },
          due: (await runsPastRetention(services.pool, one, now, dueShown)).length,
          at: at.toISOString(),
        })),
      ),
    };
  },
};

/** The body has one of the two: its schema says so. */
function contentsOf({ keys }: Services, { subject, run }: Target): ContentsOf {
  if (run !== undefined) return { run };
  return { subject: subjectKey(keys, subject ?? "") };
}

/** The one hold that was placed on just this; several are lifted by their ids. */
async function onlyHold(tx: Tx, of: ContentsOf): Promise<string> {
  const holds = (await holdsOn(tx, of)).filter((hold) =>
    "subject" in of ? hold.subject === of.subject : hold.run === of.run,
  );
  const [hold, ...more] = holds;
  if (hold === undefined) throw noHold();
  if (more.length > 0) {
    throw new ApiError(
      "invalid_request",
      `${holds.length} holds stand on it: ${holds.map(({ id }) => id).join(", ")}`,
      {
        hint: "lift them by their ids",
      },
    );
  }
  return hold.id;
}

function noHold(): ApiError {
  return new ApiError("hold_not_found", "no such hold stands", { hint: "see `countersign hold list`" });
}

function viewOfHold(hold: LegalHold): HoldView {
  const { id, subject, run, reason, placedBy, liftedBy, liftReason } = hold;
  return {
    id,
    on: subject === null ? "run" : "subject",
    run,
    reason,
    placedBy,
    placedAt: hold.placedAt.toISOString(),
    liftedBy,
    liftedAt: hold.liftedAt?.toISOString() ?? null,
    liftReason,
  };
}
