import { loadavg } from "node:os";

import Table from "cli-table3";

import type { RunId } from "../src/core/ids.ts";
import type { LedgerEvent } from "../src/core/ledger-event.ts";
import {
  appendToOutbox,
  createSequencer,
  createSigner,
  entryBodies,
  latestCheckpoint,
  logSize,
  proveConsistency,
  proveInclusion,
  verifyLog,
} from "../src/ledger/index.ts";
import { leafHash, openCheckpoint, parseVerifierKey, verifyInclusion } from "../src/ledger/proof/index.ts";
import type { Checkpoint } from "../src/ledger/proof/index.ts";
import { createPool, digestOf, migrate } from "../src/store/index.ts";
import type { Pool } from "../src/store/index.ts";
import { printGoals } from "./goals.ts";
import { createMeter } from "./processor.ts";
import type { Spent } from "./processor.ts";
import { startPostgresAlone } from "./servers.ts";
import { inParallel, median } from "./statistics.ts";

type Print = (line: string) => void;
type Meter = Awaited<ReturnType<typeof createMeter>>;

const rounds = 5;
const atOnce = 16;
/** As a step does: its decision with its intent, and its result. */
const appendsPerRound = 4_000;
const eventsPerAppend = 2;
const entriesPerRun = 17;
const largest = 1_000_000;
/** Entries that are put into the outbox at a time: the sequencer is behind them all the while, and a table of them is not what is measured. */
const slice = 50_000;
const proofsPerSize = 300;
/** Whole logs are verified at sizes up to this; the largest once. */
const verifiedInRounds = 100_000;
const signer = (log: string) => createSigner(`bench/ledger/${log}`, Buffer.alloc(32, 1));

/**
 * Appends a second, from the event to the signed checkpoint; then a log of a million entries: how it grows, its proofs, its verification, and
 * the memory that each takes.
 */
export async function benchLedger(print: Print, given: string | undefined): Promise<object> {
  const entries = given === undefined ? largest : Number(given);
  if (!Number.isSafeInteger(entries) || entries < 1_000) throw new Error("expected a number of entries, from 1000");
  const servers = await startPostgresAlone(print);
  const pool = createPool({ url: servers.url });
  try {
    await migrate(pool);
    const meter = await createMeter(pool);
    const appended = await measureAppends(pool, meter, print);
    const grown = await measureGrowth(pool, meter, entries, print);
    print(
      "left out: HTTP, witnesses, and what else the gate writes in the transactions of its events (`bench -- gate` has all of it). " +
        "Postgres and this process share the machine. Warmed up: the first round of each.",
    );
    return { ...appended, ...grown };
  } finally {
    await pool.end();
    await servers.stop();
  }
}

const sequencerOf = (pool: Pool) =>
  createSequencer({
    pool,
    signers: (log) => [signer(log)],
    originOf: (log) => `bench/ledger/${log}`,
    onError: (error) => {
      throw error;
    },
  });

/** Events by 16 writers at once, each statement committed by itself, while the sequencer runs: until a checkpoint covers the last of them. */
async function measureAppends(pool: Pool, meter: Meter, print: Print): Promise<object> {
  const sequencer = sequencerOf(pool);
  const spent: Spent[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const events = Array.from({ length: appendsPerRound }, (_, place) =>
      eventsOf("appends", round * appendsPerRound + place),
    );
    sequencer.start();
    const measured = await meter(async () => {
      await inParallel(appendsPerRound, atOnce, (index) => appendToOutbox(pool, events[index] ?? []));
      await sequencer.flush("appends");
    });
    await sequencer.stop();
    // The first round warms up.
    if (round > 0) spent.push(measured);
  }
  const count = appendsPerRound * eventsPerAppend;
  const rates = { appends: spent.map(({ wallMs }) => (count / wallMs) * 1_000) };
  const processor = median(spent.map(({ nodeMs, postgresMs = Number.NaN }) => (nodeMs + postgresMs) / count));
  const perSecond = Math.round(median(rates.appends));
  print(
    `appends: ${perSecond}/s (${rounds} rounds of ${count}: ${rates.appends.map((rate) => Math.round(rate)).join(", ")}), ` +
      `${(processor * 1_000).toFixed(0)} µs of processor time each (Node and Postgres together, so at most ${Math.round(2_000 / processor)}/s on two cores); ` +
      `load ${spent.map(({ load }) => load.toFixed(1)).join(", ")}`,
  );
  printGoals(print, [["appends a second, at least 3,000 on two cores", perSecond, perSecond >= 3_000]]);
  return { appendsPerSecond: perSecond, appendMicroseconds: Math.round(processor * 1_000) };
}

function eventsOf(log: string, place: number): readonly LedgerEvent[] {
  const steps = (entriesPerRun - 1) / eventsPerAppend;
  const run = `run_${Math.floor(place / steps)
    .toString()
    .padStart(26, "0")}` as RunId;
  const seq = place % steps;
  const at = "2026-01-01T00:00:00.000Z";
  const action = digestOf({ run, seq });
  const base = { log, run, at } as const;
  return [
    {
      ...base,
      kind: "step.decided",
      dedupKey: `${run}/${seq}/decided/0`,
      facts: {
        seq,
        n: 0,
        step: "tool",
        name: "lookup_order",
        agent: "support",
        release: digestOf("release"),
        action,
        arguments: digestOf({ seq }),
        outcome: "allow",
        policies: ["support/read"],
        policySet: digestOf("policies"),
        request: digestOf({ action }),
        activity: `${action.slice(0, 36)}/${seq}`,
      },
    },
    {
      ...base,
      kind: "step.intent",
      dedupKey: `${run}/${seq}/intent`,
      facts: { seq, action, idempotencyKey: `${run}.${seq}`, heldMicroUsd: 0 },
    },
  ];
}

/** The log is filled by SQL into the outbox, in slices, and by the sequencer itself from there on. */
async function measureGrowth(pool: Pool, meter: Meter, entries: number, print: Print): Promise<object> {
  const sequencer = sequencerOf(pool);
  const sizes = [entries / 100, entries / 10, entries / 2, entries].map(Math.floor);
  const table = new Table({
    head: [
      "entries",
      "sequenced/s",
      "µs of processor each",
      "inclusion",
      "made in",
      "consistency",
      "made in",
      "memory",
      "load",
    ],
  });
  let figures: object = {};
  let sequenced = { count: 0, wallMs: 0, processorMs: 0 };
  for (let size = 0, next = 0; next < sizes.length;) {
    const until = Math.min(sizes[next] ?? entries, size + slice);
    await fill(pool, size, until);
    const { wallMs, nodeMs, postgresMs = Number.NaN } = await meter(() => sequencer.flush("grown"));
    sequenced = {
      count: sequenced.count + until - size,
      wallMs: sequenced.wallMs + wallMs,
      processorMs: sequenced.processorMs + nodeMs + postgresMs,
    };
    size = until;
    if (size < (sizes[next] ?? entries)) continue;
    next += 1;
    if ((await logSize(pool, "grown")) !== size) throw new Error("the log is not of the size that it was filled to");
    const proofs = await measureProofs(pool, size);
    const rate = Math.round((sequenced.count / sequenced.wallMs) * 1_000);
    const each = Math.round((sequenced.processorMs / sequenced.count) * 1_000);
    const memoryMiB = Math.round(process.memoryUsage().rss / 2 ** 20);
    table.push([
      size,
      rate,
      each,
      `${proofs.inclusion.bytes} bytes`,
      `${proofs.inclusion.ms.toFixed(2)} ms`,
      `${proofs.consistency.bytes} bytes`,
      `${proofs.consistency.ms.toFixed(2)} ms`,
      `${memoryMiB} MiB`,
      (loadavg()[0] ?? 0).toFixed(1),
    ]);
    figures = {
      entries: size,
      sequencedPerSecond: rate,
      proofBytes: proofs.inclusion.bytes,
      proofMs: Number(proofs.inclusion.ms.toFixed(2)),
      memoryMiB,
    };
    sequenced = { count: 0, wallMs: 0, processorMs: 0 };
  }
  print(table.toString());
  print(
    `proofs: the median of ${proofsPerSize} at random places, from Postgres's tiles to the proof, each verified; a hash has 32 bytes`,
  );
  return { ...figures, ...(await measureVerify(pool, meter, sizes, print)) };
}

/** Events of runs, as canonical JSON that SQL makes: what is measured is what comes after. */
async function fill(pool: Pool, from: number, until: number): Promise<void> {
  await pool.query(
    `insert into ledger_outbox (log, dedup_key, run, event)
     select 'grown', key, run, '{"at":"2026-01-01T00:00:00.000Z","dedupKey":"' || key || '","facts":{"action":"' || hash || '","arguments":"'
       || hash || '","n":0,"name":"lookup_order","outcome":"allow","policies":["support/read"],"policySet":"' || hash || '","request":"'
       || hash || '","seq":' || n % ${entriesPerRun} || '},"kind":"step.decided","log":"grown","v":1}'
     from generate_series($1::int, $2::int - 1) n
     cross join lateral (select 'run_' || lpad((n / ${entriesPerRun})::text, 26, '0') as run, encode(sha256(n::text::bytea), 'hex') as hash) made
     cross join lateral (select run || '/' || n % ${entriesPerRun} as key) named
     order by n`,
    [from, until],
  );
  // As autovacuum does where there is time: a plan made for an empty table is another.
  await pool.query("analyze ledger_outbox");
}

type Proofs = { readonly bytes: number; readonly ms: number };

async function measureProofs(
  pool: Pool,
  size: number,
): Promise<{ readonly inclusion: Proofs; readonly consistency: Proofs }> {
  const checkpoint = await headOf(pool, size);
  const [inclusion, consistency]: { bytes: number; ms: number }[][] = [[], []];
  for (let n = 0; n < proofsPerSize; n += 1) {
    // Spread evenly, and the same in every run.
    const index = Math.floor(((n * 0.618_033_988_75) % 1) * size);
    const { rows } = await pool.query<{ body: Buffer }>(
      "select body from ledger_entry where log = 'grown' and idx = $1",
      [index],
    );
    const begun = performance.now();
    const path = await proveInclusion(pool, "grown", index, size);
    inclusion?.push({ bytes: path.length * 32, ms: performance.now() - begun });
    verifyInclusion({
      index,
      size,
      leafHash: leafHash(rows[0]?.body ?? Buffer.alloc(0)),
      proof: path,
      root: checkpoint.root,
    });
    const from = Math.max(1, index);
    const again = performance.now();
    const proof = await proveConsistency(pool, "grown", from, size);
    consistency?.push({ bytes: proof.length * 32, ms: performance.now() - again });
  }
  const middle = (all: readonly Proofs[] = []): Proofs => ({
    bytes: median(all.map(({ bytes }) => bytes)),
    ms: median(all.map(({ ms }) => ms)),
  });
  return { inclusion: middle(inclusion), consistency: middle(consistency) };
}

async function headOf(pool: Pool, size: number): Promise<Checkpoint> {
  const signed = await latestCheckpoint(pool, "grown");
  const checkpoint = openCheckpoint(signed?.note ?? "", parseVerifierKey(signer("grown").verifierKey));
  if (checkpoint.size !== size) throw new Error(`the checkpoint is of ${checkpoint.size} entries, not of ${size}`);
  return checkpoint;
}

/** Whole logs, read from Postgres: every entry canonical, chained and hashed, and the root held against the signed one. */
async function measureVerify(pool: Pool, meter: Meter, sizes: readonly number[], print: Print): Promise<object> {
  const last = sizes.at(-1) ?? 0;
  const small = sizes.findLast((size) => size <= verifiedInRounds) ?? last;
  const rates: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const rate = await verifyRate(pool, meter, small);
    if (round > 0) rates.push(rate);
  }
  const before = process.memoryUsage().rss;
  const whole = await verifyRate(pool, meter, last);
  const grown = Math.round((process.memoryUsage().rss - before) / 2 ** 20);
  const perSecond = Math.round(median(rates));
  print(
    `verified: ${perSecond}/s on one core, by processor time (${rounds} rounds of ${small}); ${last} once: ${Math.round(whole)}/s, and ${grown} MiB more memory. ` +
      "Offline, from files, `bench -- evidence` measures it, with its goal",
  );
  return { verifyPerSecond: perSecond, verifyMemoryMiB: grown };
}

async function verifyRate(pool: Pool, meter: Meter, size: number): Promise<number> {
  const { rows } = await pool.query<{ note: string }>(
    "select note from ledger_checkpoint where log = 'grown' and size = $1",
    [size],
  );
  const { nodeMs } = await meter(async () => {
    const { verdict, checks } = await verifyLog({
      entries: entryBodies(pool, "grown", size),
      checkpoint: rows[0]?.note ?? "",
      verifierKey: signer("grown").verifierKey,
    });
    if (verdict !== "verified") throw new Error(`the bench's own log is ${verdict}: ${JSON.stringify(checks)}`);
  });
  return (size / nodeMs) * 1_000;
}
