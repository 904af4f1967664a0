import { setTimeout as sleep } from "node:timers/promises";

import { createReplayers, replayRun, verifyRun } from "../../../src/audit/index.ts";
import type { AuditReport } from "../../../src/audit/index.ts";
import type { OfflineReport } from "../../../src/audit/offline/index.ts";
import { closedRecord } from "../../../src/cli/closed-record.ts";
import type { Digest, RunId } from "../../../src/core/ids.ts";
import type { LedgerEntry } from "../../../src/core/ledger-event.ts";
import type { RunRecord } from "../../../src/core/run-record.ts";
import { poll } from "./lab.ts";
import type { Lab } from "./lab.ts";
import type { Progress, StartedRun } from "./scenario.ts";
import { insist } from "./scenario.ts";
import type { ToolCall } from "./tools.ts";
import { logs, originOf } from "./world.ts";
import type { World } from "./world.ts";

export type EntryFact = {
  readonly log: string;
  readonly index: number;
  readonly leafHash: string;
  readonly body: Uint8Array;
  readonly dedupKey: string;
  readonly run: RunId | null;
  readonly seq: number | null;
};

/** A time in which something was away, from and to in milliseconds since 1970. */
export type Outage = { readonly what: string; readonly from: number; readonly to: number };

/** All that the invariants are about: plain data, from the tools, Postgres, the ledger as it was seen on the way, and Temporal. */
export type Facts = {
  readonly calls: readonly ToolCall[];
  readonly started: readonly StartedRun[];
  readonly acknowledged: Progress["acknowledged"];
  readonly outages: readonly Outage[];
  readonly runs: readonly {
    readonly id: RunId;
    readonly team: string;
    readonly status: string;
    readonly closed: boolean;
    readonly heldMicroUsd: number;
    /** Why it failed, where it did. */
    readonly failure: string | null;
    /** Temporal's word; undefined where it knows no such workflow. */
    readonly workflow: string | undefined;
  }[];
  readonly steps: readonly {
    readonly run: RunId;
    readonly seq: number;
    readonly kind: string;
    readonly name: string;
    readonly state: string;
    readonly action: Digest;
    readonly arguments: Digest;
  }[];
  readonly effects: readonly {
    readonly run: RunId;
    readonly seq: number;
    readonly key: string;
    readonly state: string;
    readonly intendedAt: number;
  }[];
  readonly requests: readonly {
    readonly id: string;
    readonly run: RunId;
    readonly seq: number;
    readonly team: string;
    readonly state: string;
    readonly action: Digest;
    readonly decidedAt: number | null;
    readonly approvedBy: readonly string[];
  }[];
  readonly outcomes: readonly {
    readonly run: RunId;
    readonly seq: number;
    readonly team: string;
    readonly state: string;
  }[];
  readonly waiting: readonly { readonly log: string; readonly dedupKey: string; readonly run: RunId | null }[];
  readonly entries: readonly EntryFact[];
  /** Every note in the database, and every one that was seen on the way. */
  readonly checkpoints: readonly { readonly log: string; readonly size: number; readonly note: string }[];
  /** What was under a signed checkpoint when it was looked at. */
  readonly seen: readonly { readonly log: string; readonly index: number; readonly leafHash: string }[];
  readonly seals: readonly { readonly run: RunId; readonly position: number; readonly archived: boolean }[];
  readonly audits: readonly { readonly run: RunId; readonly replay: AuditReport; readonly evidence: AuditReport }[];
  readonly bundle: OfflineReport | undefined;
  readonly verifierKeys: Readonly<Record<string, string>>;
  readonly witness: string;
  /** What the audits were made of. */
  readonly records: readonly RunRecord[];
  readonly code: string;
};

/** Looks at the logs while a case goes on, as an auditor from outside would: what was signed once is held against what is there at the end. */
export function watchLogs(world: World) {
  const checkpoints = new Map<string, Facts["checkpoints"][number]>();
  const seen = new Map<string, Facts["seen"][number]>();
  const stopping = new AbortController();
  const sizes = new Map<string, number>();

  async function look(): Promise<void> {
    for (const log of logs) {
      const signed = await world.pool.query<{ size: number; note: string }>(
        "select size, note from ledger_checkpoint where log = $1 order by size desc limit 1",
        [log],
      );
      const [newest] = signed.rows;
      const from = sizes.get(log) ?? 0;
      if (newest === undefined) continue;
      checkpoints.set(newest.note, { log, ...newest });
      const { rows } = await world.pool.query<{ idx: number; leaf: string }>(
        "select idx, encode(leaf_hash, 'hex') as leaf from ledger_entry where log = $1 and idx >= $2 and idx < $3 order by idx",
        [log, from, newest.size],
      );
      for (const { idx, leaf } of rows) seen.set(`${log}/${idx}/${leaf}`, { log, index: idx, leafHash: leaf });
      sizes.set(log, Math.max(from, newest.size));
    }
  }

  const done = (async () => {
    while (!stopping.signal.aborted) {
      await look().catch(() => undefined);
      await sleep(200, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  })();
  return {
    checkpoints,
    seen,
    async stop() {
      stopping.abort();
      await done;
    },
  };
}

export type Kept = Pick<Facts, "started" | "acknowledged" | "outages" | "bundle" | "records" | "code"> & {
  readonly watched: ReturnType<typeof watchLogs>;
};

/** Waits until the ledger has taken in and signed all that is committed, and every closed run is sealed. */
export async function untilQuiet(world: World, runs: readonly StartedRun[], timeoutMs: number): Promise<boolean> {
  const quiet = await poll(async () => {
    const { rows } = await world.pool.query<{ quiet: boolean }>(
      `select not exists (select from ledger_outbox)
         and not exists (select from ledger_state state where size > coalesce(
           (select max(size) from ledger_checkpoint signed where signed.log = state.log), 0))
         and (select count(*) from run_execution where archived_at is not null and run = any($1)) >= cardinality($1) as quiet`,
      [runs.map(({ id }) => id)],
    );
    return rows[0]?.quiet === true ? true : undefined;
  }, timeoutMs);
  return quiet === true;
}

/** The records of the runs, through the API. */
export async function recordsOf(world: World, runs: readonly StartedRun[]): Promise<readonly RunRecord[]> {
  const records: RunRecord[] = [];
  for (const { id } of runs) records.push(await insist(() => closedRecord(world.operator, id)));
  return records;
}

const replayers = createReplayers();
/** For the process to end. */
export const closeReplayers = (): Promise<void> => replayers.close();

export async function auditsOf(
  records: readonly RunRecord[],
  code: string,
  verifierKeys: Facts["verifierKeys"],
  witness: string,
): Promise<Facts["audits"]> {
  const audits: Facts["audits"][number][] = [];
  for (const record of records) {
    const replay = await replayRun(record, code, replayers);
    audits.push({
      run: record.run.id,
      replay,
      evidence: verifyRun(record, verifierKeys[record.run.team] ?? "", [witness]),
    });
  }
  return audits;
}

export async function gather(lab: Lab, world: World, { watched, ...kept }: Kept): Promise<Facts> {
  const { pool } = world;
  const read = async <Row extends object>(sql: string): Promise<readonly Row[]> =>
    (await pool.query<Row & Record<string, unknown>>(sql)).rows;
  const runs = await read<Omit<Facts["runs"][number], "workflow">>(
    `select id, team, status, closed_at is not null as closed, held_micro_usd as "heldMicroUsd", failure ->> 'code' as failure from run order by id`,
  );
  const workflows = await Promise.all(runs.map(({ id }) => workflowOf(lab, id)));
  const stored = await read<Omit<EntryFact, "dedupKey" | "run" | "seq"> & { readonly body: Buffer }>(
    `select log, idx as index, encode(leaf_hash, 'hex') as "leafHash", body from ledger_entry order by log, idx`,
  );
  const notes = await read<Facts["checkpoints"][number]>("select log, size, note from ledger_checkpoint");
  const verifierKeys = Object.fromEntries(logs.map((log) => [log, world.signers(originOf(log))[0].verifierKey]));
  return {
    ...kept,
    calls: [...world.calls],
    verifierKeys,
    witness: world.witness.verifierKey,
    runs: runs.map((run, place) => ({ ...run, workflow: workflows[place] })),
    steps: await read("select run, seq, kind, name, state, action, arguments from step order by run, seq"),
    effects: await read(
      `select run, seq, idempotency_key as key, state, (extract(epoch from intended_at) * 1000)::float8 as "intendedAt" from effect order by run, seq`,
    ),
    requests: await read(
      `select id, run, seq, team, state, action, (extract(epoch from decided_at) * 1000)::float8 as "decidedAt",
         array(select reviewer from approval_decision said where said.request = request.id and decision = 'approve' order by 1) as "approvedBy"
       from approval_request request order by id`,
    ),
    outcomes: await read("select run, seq, team, state from unknown_outcome order by run, seq"),
    waiting: await read(`select log, dedup_key as "dedupKey", run from ledger_outbox order by id`),
    entries: stored.map((row) => {
      const { dedupKey, run } = JSON.parse(row.body.toString("utf8")) as LedgerEntry;
      return { ...row, dedupKey, run: run?.id ?? null, seq: run?.seq ?? null };
    }),
    checkpoints: [...notes, ...watched.checkpoints.values()],
    seen: [...watched.seen.values()],
    seals: await read(
      "select run, position, archived_at is not null as archived from run_execution order by run, position",
    ),
    audits: await auditsOf(kept.records, kept.code, verifierKeys, world.witness.verifierKey),
  };
}

async function workflowOf(lab: Lab, run: RunId): Promise<string | undefined> {
  return lab.client.workflow
    .getHandle(run)
    .describe()
    .then(
      ({ status }) => status.name,
      () => undefined,
    );
}
