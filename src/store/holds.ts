import { ulid } from "ulid";

import type { RunId } from "../core/ids.ts";
import type { Tx } from "./database.ts";
import type { ContentsOf } from "./erasure.ts";

/** While it stands, nothing of whom or what it is on is erased. */
export type LegalHold = {
  readonly id: string;
  /** As in `run.subject_key`. Either this or `run`. */
  readonly subject: string | null;
  readonly run: RunId | null;
  /** The run's. */
  readonly team: string | null;
  readonly reason: string;
  readonly placedBy: string;
  readonly placedAt: Date;
  readonly liftedBy: string | null;
  readonly liftedAt: Date | null;
  readonly liftReason: string | null;
};

const columns = `id, subject, run, (select team from run where run.id = legal_hold.run) as team, reason, placed_by as "placedBy", placed_at as "placedAt", lifted_by as "liftedBy", lifted_at as "liftedAt",
  lift_reason as "liftReason"`;

type Change = { readonly reason: string; readonly by: string; readonly now: Date };

/** The caller holds the lock of `lockContents`. */
export async function placeHold(tx: Tx, on: ContentsOf, { reason, by, now }: Change): Promise<LegalHold> {
  const { rows } = await tx.query<LegalHold>(
    `insert into legal_hold (id, subject, run, reason, placed_by, placed_at) values ($1, $2, $3, $4, $5, $6) returning ${columns}`,
    [`hold_${ulid(now.getTime())}`, "subject" in on ? on.subject : null, "run" in on ? on.run : null, reason, by, now],
  );
  return rows[0] as LegalHold;
}

/** Undefined where no such hold stands. */
export async function liftHold(tx: Tx, id: string, { reason, by, now }: Change): Promise<LegalHold | undefined> {
  const { rows } = await tx.query<LegalHold>(
    `update legal_hold set lifted_by = $2, lifted_at = $3, lift_reason = $4 where id = $1 and lifted_at is null returning ${columns}`,
    [id, by, now, reason],
  );
  return rows[0];
}

/** The holds that keep these contents: on the subject or any of its runs, or on the run or its subject. */
export async function holdsOn(tx: Tx, of: ContentsOf): Promise<readonly LegalHold[]> {
  const { rows } = await tx.query<LegalHold>(
    `select ${columns} from legal_hold where lifted_at is null and ${
      "subject" in of
        ? "(subject = $1 or run in (select id from run where subject_key = $1 and subject_key <> ''))"
        : "(run = $1 or subject = (select nullif(subject_key, '') from run where id = $1))"
    } order by id`,
    ["subject" in of ? of.subject : of.run],
  );
  return rows;
}

export async function holdById(tx: Tx, id: string): Promise<LegalHold | undefined> {
  const { rows } = await tx.query<LegalHold>(`select ${columns} from legal_hold where id = $1`, [id]);
  return rows[0];
}

/** Holds, newest first; without `all`, those that stand. */
export async function listHolds(tx: Tx, all: boolean, limit: number): Promise<readonly LegalHold[]> {
  const { rows } = await tx.query<LegalHold>(
    `select ${columns} from legal_hold where $1 or lifted_at is null order by id desc limit $2`,
    [all, limit],
  );
  return rows;
}
