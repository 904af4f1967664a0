import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RunId } from "../../src/core/ids.ts";
import type { LedgerEvent } from "../../src/core/ledger-event.ts";
import {
  appendToOutbox,
  createSequencer,
  createSigner,
  entryBodies,
  latestCheckpoint,
  loadOrCreateSigners,
  loadSigners,
  proveConsistency,
  proveInclusion,
  readEntries,
  readRunEntries,
  verifyLog,
} from "../../src/ledger/index.ts";
import { readLogState, writeLogState } from "../../src/ledger/log-state.ts";
import type { Sequencer, SequencerOptions } from "../../src/ledger/index.ts";
import {
  leafHash,
  openCheckpoint,
  parseVerifierKey,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from "../../src/ledger/proof/index.ts";
import { inTransaction } from "../../src/store/index.ts";
import type { Pool } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

const originOf = (log: string): string => `test.example/ledger/${log}`;
const signerOf = (log: string) => createSigner(originOf(log), Buffer.alloc(32, 7));
const keyOf = (log: string) => parseVerifierKey(signerOf(log).verifierKey);

function must<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error("expected a value");
  return value;
}

let database: TestDatabase;
beforeAll(async () => {
  database = await freshDatabase({ max: 30 });
});
afterAll(async () => {
  await database.close();
});

function sequencer(options: Partial<SequencerOptions> = {}): Sequencer {
  const onError = (error: unknown): void => {
    throw error;
  };
  return createSequencer({
    pool: database.pool,
    signers: (log) => [signerOf(log)],
    originOf,
    intervalMs: 5,
    onError,
    ...options,
  });
}

const runOf = (n: number): RunId => `run_${n.toString().padStart(26, "0")}` as RunId;

function event(log: string, n: number, change: Partial<LedgerEvent> = {}): LedgerEvent {
  return { log, kind: "step.intent", dedupKey: `event-${n}`, at: "2026-01-02T03:04:05.678Z", facts: { n }, ...change };
}

async function append(log: string, from: number, count: number): Promise<void> {
  const events = Array.from({ length: count }, (_, n) =>
    event(log, from + n, { run: runOf(Number.parseInt(log.slice(1)) * 1000 + (n % 7)) }),
  );
  await inTransaction(database.pool, (tx) => appendToOutbox(tx, events));
}

/** The log verified from outside, with its checkpoint opened. */
async function verified(log: string): Promise<number> {
  const { pool } = database;
  const { note, size } = must(await latestCheckpoint(pool, log));
  const report = await verifyLog({
    entries: entryBodies(pool, log, size),
    checkpoint: note,
    verifierKey: signerOf(log).verifierKey,
  });
  expect(report).toMatchObject({ verdict: "verified", entries: size });
  return size;
}

async function count(pool: Pool, sql: string, values: readonly unknown[] = []): Promise<number> {
  return must((await pool.query<{ n: number }>(`select count(*) as n from ${sql}`, [...values])).rows[0]).n;
}

describe("appending", () => {
  test("order, runs and contents arrive as given, and the log verifies", async () => {
    await append("l1", 0, 20);
    await sequencer().flush("l1");
    const entries = await readEntries(database.pool, "l1", 0, 100);
    expect(entries.map((row) => [row.index, row.entry.dedupKey])).toEqual(
      Array.from({ length: 20 }, (_, n) => [n, `event-${n}`]),
    );
    const ofRun = await readRunEntries(database.pool, runOf(1003));
    expect(ofRun.map((row) => row.entry.run?.seq)).toEqual([0, 1, 2]);
    expect(ofRun.map((row) => row.entry.run?.prev).slice(1)).toEqual(ofRun.map((row) => row.leafHash).slice(0, -1));
    expect(await verified("l1")).toBe(20);
  });

  test("an event given again is one entry, in the outbox and after it was sequenced", async () => {
    const given = [event("l2", 1), event("l2", 2), event("l2", 1)];
    await appendToOutbox(database.pool, given);
    await appendToOutbox(database.pool, given);
    await sequencer().flush("l2");
    await appendToOutbox(database.pool, [...given, event("l2", 3)]);
    await sequencer().flush("l2");
    const keys = (await readEntries(database.pool, "l2", 0, 100)).map((row) => row.entry.dedupKey);
    expect(keys).toEqual(["event-1", "event-2", "event-3"]);
    expect(await count(database.pool, "ledger_outbox where log = 'l2'")).toBe(0);
  });

  test("what cannot be an entry is refused at once, and the caller's transaction with it", async () => {
    const refused = async (change: Partial<LedgerEvent>): Promise<unknown> =>
      appendToOutbox(database.pool, [event("l3", 1), event("l3", 2, change)]).then(
        () => "accepted",
        (error: { code: string }) => error.code,
      );
    expect(await refused({ facts: { text: "x".repeat(16 * 1024) } })).toBe("event_too_large");
    expect(await refused({ facts: { amount: 0.5 } })).toBe("event_invalid");
    expect(await refused({ facts: { text: "\ud800" } })).toBe("event_invalid");
    expect(await refused({ facts: { nested: { a: 1 } as never } })).toBe("event_invalid");
    expect(await refused({ dedupKey: "" })).toBe("event_invalid");
    expect(await refused({ at: "yesterday" })).toBe("event_invalid");
    expect(await count(database.pool, "ledger_outbox where log = 'l3'")).toBe(0);
    // The largest event that is let in does fit with its place in a run, and U+0000 passes through.
    const room =
      16 * 1024 - 142 - Buffer.byteLength(JSON.stringify({ v: 1, ...event("l3", 3, { facts: { text: "\u0000" } }) }));
    await appendToOutbox(database.pool, [
      event("l3", 3, { run: runOf(3000), facts: { text: `\u0000${"x".repeat(room)}` } }),
    ]);
    expect(await refused({ run: runOf(3000), facts: { text: `\u0000${"x".repeat(room + 1)}` } })).toBe(
      "event_too_large",
    );
    await sequencer().flush("l3");
    expect(await verified("l3")).toBe(1);
  });

  test("an event that commits after later ones is not lost", async () => {
    const slow = await database.pool.connect();
    try {
      await slow.query("begin");
      await appendToOutbox(slow as never, [event("l4", 1)]);
      await appendToOutbox(database.pool, [event("l4", 2)]);
      await sequencer().flush("l4");
      expect((await readEntries(database.pool, "l4", 0, 9)).map((row) => row.entry.dedupKey)).toEqual(["event-2"]);
      await slow.query("commit");
    } finally {
      slow.release();
    }
    await sequencer().flush("l4");
    expect((await readEntries(database.pool, "l4", 0, 9)).map((row) => row.entry.dedupKey)).toEqual([
      "event-2",
      "event-1",
    ]);
    await verified("l4");
  });

  test("nothing of a transaction that rolls back is sequenced", async () => {
    const work = inTransaction(database.pool, async (tx) => {
      await appendToOutbox(tx, [event("l5", 1)]);
      throw new Error("changed my mind");
    });
    await expect(work).rejects.toThrow("changed my mind");
    await sequencer().flush("l5");
    expect(await latestCheckpoint(database.pool, "l5")).toBeUndefined();
  });
});

describe("several sequencers at once", () => {
  test("lose nothing, duplicate nothing, and sign one history", async () => {
    const errors: unknown[] = [];
    const several = Array.from({ length: 4 }, () => sequencer({ onError: (error) => errors.push(error) }));
    for (const each of several) each.start();
    // Writers race each other on two logs, and every event is given twice.
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let round = 0; round < 20; round += 1) {
        for (const log of ["l6", "l7"]) {
          await append(log, (writer % 4) * 1_000 + round * 10, 10);
        }
      }
    });
    await Promise.all(writers);
    await Promise.all([must(several[0]).flush(), must(several[1]).flush()]);
    await Promise.all(several.map((each) => each.stop()));
    expect(errors).toEqual([]);
    for (const log of ["l6", "l7"]) {
      expect(await verified(log)).toBe(800);
      const { rows } = await database.pool.query<{ size: number; note: string }>(
        "select size, note from ledger_checkpoint where log = $1 order by size",
        [log],
      );
      const checkpoints = rows.map((row) => openCheckpoint(row.note, keyOf(log)));
      for (const [place, newer] of checkpoints.entries()) {
        const older = checkpoints[place - 1];
        if (older === undefined) continue;
        const proof = await proveConsistency(database.pool, log, older.size, newer.size);
        verifyConsistency({ from: older.size, to: newer.size, fromRoot: older.root, toRoot: newer.root, proof });
      }
    }
  });

  test("a started sequencer takes what comes, and stop ends it", async () => {
    const running = sequencer();
    running.start();
    await append("l8", 0, 3);
    while ((await latestCheckpoint(database.pool, "l8"))?.size !== 3) await sleep(10);
    await running.stop();
    await append("l8", 3, 3);
    await sleep(50);
    expect(await verified("l8")).toBe(3);
    // A new one goes on where it stopped.
    await sequencer().flush();
    expect(await verified("l8")).toBe(6);
  });

  test("a log that fails is told, tried again, and does not hold up the others", async () => {
    let failures = 0;
    const errors: (string | undefined)[] = [];
    const running = sequencer({
      signers: (log) => {
        if (log === "l17" && failures++ < 3) throw new Error("key store is away");
        return [signerOf(log)];
      },
      onError: (_error, log) => errors.push(log),
    });
    await append("l17", 0, 2);
    await append("l18", 0, 2);
    running.start();
    while ((await latestCheckpoint(database.pool, "l18")) === undefined) await sleep(5);
    while ((await latestCheckpoint(database.pool, "l17")) === undefined) await sleep(5);
    await running.stop();
    expect(errors).toEqual(["l17", "l17", "l17"]);
    expect(await verified("l17")).toBe(2);
  });

  test("one that dies between commit and signature is caught up with", async () => {
    await append("l9", 0, 5);
    const dying = sequencer({
      signers: () => {
        throw new Error("power cut");
      },
    });
    await expect(dying.flush("l9")).rejects.toThrow("power cut");
    expect(await count(database.pool, "ledger_entry where log = 'l9'")).toBe(5);
    expect(await latestCheckpoint(database.pool, "l9")).toBeUndefined();
    await sequencer().flush();
    expect(await verified("l9")).toBe(5);
  });
});

test("a sequencer that lost its lock unawares cannot append: the head has moved on", async () => {
  await append("l16", 0, 3);
  const before = await readLogState(database.pool, "l16");
  await sequencer().flush("l16");
  before.edge.append(leafHash(Buffer.from("a second history")));
  const late = inTransaction(database.pool, (tx) => writeLogState(tx, "l16", before.size, before.edge));
  await expect(late).rejects.toMatchObject({ code: "append_conflict" });
  expect((await readLogState(database.pool, "l16")).size).toBe(3);
});

describe("proofs from tiles", () => {
  test("are those of the definition, at every kind of size", async () => {
    const log = "l10";
    // Grown in steps that end inside tiles, at their edges, and past a row of them.
    for (const [from, to] of [
      [0, 1],
      [1, 255],
      [255, 256],
      [256, 300],
      [300, 1000],
      [1000, 1536],
      [1536, 2100],
    ] as const) {
      await append(log, from, to - from);
      await sequencer().flush(log);
    }
    const { pool } = database;
    const leaves: Uint8Array[] = [];
    for await (const body of entryBodies(pool, log, 2100)) leaves.push(leafHash(body));
    for (const size of [1, 2, 255, 256, 257, 511, 512, 513, 1000, 1536, 2047, 2048, 2049, 2100]) {
      const root = rootOf(leaves.slice(0, size));
      for (const index of new Set(
        [0, 1, 255, 256, 700, size >> 1, size - 2, size - 1].filter((n) => n >= 0 && n < size),
      )) {
        const proof = await proveInclusion(pool, log, index, size);
        verifyInclusion({ index, size, leafHash: must(leaves[index]), proof, root });
      }
      for (const from of new Set(
        [1, 2, 128, 255, 256, 300, 512, 1000, size - 1, size].filter((n) => n > 0 && n <= size),
      )) {
        const proof = await proveConsistency(pool, log, from, size);
        verifyConsistency({ from, to: size, fromRoot: rootOf(leaves.slice(0, from)), toRoot: root, proof });
      }
    }
    await expect(proveInclusion(pool, log, 0, 2101)).rejects.toMatchObject({ code: "not_in_log" });
    await expect(proveInclusion(pool, log, 5, 5)).rejects.toMatchObject({ code: "not_in_log" });
    await expect(proveConsistency(pool, log, 0, 5)).rejects.toMatchObject({ code: "not_in_log" });
  });
});

describe("the tables", () => {
  test("refuse to be rewritten", async () => {
    await append("l12", 0, 300);
    await sequencer().flush("l12");
    for (const statement of [
      "update ledger_entry set body = body where log = 'l12'",
      "delete from ledger_entry where log = 'l12'",
      "truncate ledger_entry",
      "update ledger_tile set data = data",
      "delete from ledger_tile",
      "truncate ledger_tile",
      "update ledger_checkpoint set note = note",
      "delete from ledger_checkpoint",
      "truncate ledger_checkpoint",
      "update ledger_state set size = size - 1 where log = 'l12'",
      "update ledger_state set root = root where log = 'l12'",
      "delete from ledger_state",
      "delete from ledger_run",
    ]) {
      expect(await database.pool.query(statement).catch((error: unknown) => error)).toMatchObject({ code: "23001" });
    }
    expect(await verified("l12")).toBe(300);
  });

  test("a database administrator who rewrites an entry is convicted, and nothing more is signed", async () => {
    const log = "l13";
    await append(log, 0, 10);
    await sequencer().flush(log);
    const note = must(await latestCheckpoint(database.pool, log)).note;
    await withoutTriggers(
      `update ledger_entry set body = convert_to(replace(convert_from(body, 'UTF8'), '"n":4', '"n":5'), 'UTF8') where log = '${log}' and idx = 4`,
    );
    const report = await verifyLog({
      entries: entryBodies(database.pool, log, 10),
      checkpoint: note,
      verifierKey: signerOf(log).verifierKey,
    });
    expect(report.verdict).toBe("refuted");
    // The leaf and the tree made to fit as well: the next checkpoint would fork from the last one.
    const bodies: Uint8Array[] = [];
    for await (const body of entryBodies(database.pool, log, 10)) bodies.push(leafHash(body));
    const [eight, two] = [rootOf(bodies.slice(0, 8)), rootOf(bodies.slice(8))];
    await withoutTriggers(
      `update ledger_entry set leaf_hash = sha256('\\x00'::bytea || body) where log = '${log}'`,
      `update ledger_state set root = '\\x${Buffer.from(rootOf(bodies)).toString("hex")}',
         right_edge = array['\\x${Buffer.from(eight).toString("hex")}', '\\x${Buffer.from(two).toString("hex")}']::bytea[] where log = '${log}'`,
    );
    // With nothing new there is nothing to sign.
    await sequencer().flush(log);
    await append(log, 10, 5);
    await expect(sequencer().flush(log)).rejects.toMatchObject({ code: "checkpoint_conflict" });
    expect(must(await latestCheckpoint(database.pool, log)).size).toBe(10);
  });

  test("a head that does not fit itself stops the log", async () => {
    await append("l14", 0, 3);
    await sequencer().flush("l14");
    await withoutTriggers("update ledger_state set root = sha256('x') where log = 'l14'");
    await append("l14", 3, 1);
    await expect(sequencer().flush("l14")).rejects.toMatchObject({ code: "chain_broken" });
  });

  async function withoutTriggers(...statements: readonly string[]): Promise<void> {
    const tables = ["ledger_entry", "ledger_state"];
    await inTransaction(database.pool, async (tx) => {
      for (const table of tables) await tx.query(`alter table ${table} disable trigger user`);
      for (const statement of statements) await tx.query(statement);
      for (const table of tables) await tx.query(`alter table ${table} enable trigger user`);
    });
  }
});

describe("signers", () => {
  test("one key file, made once however many start, readable by its owner alone", async () => {
    const folder = await mkdtemp(join(tmpdir(), "countersign-signer-"));
    try {
      const path = join(folder, "keys", "ledger.pem");
      const all = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateSigners(path)));
      const keysOf = all.map((signersOf) => signersOf("test.example/log").map(({ verifierKey }) => verifierKey));
      expect(new Set(keysOf.map(String)).size).toBe(1);
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      expect(await readFile(path, "utf8")).toContain("BEGIN PRIVATE KEY");
      expect((await loadSigners(path, "test.example/other"))[0].verifierKey).not.toBe(must(keysOf[0])[0]);
      await expect(loadSigners(join(folder, "missing"), "x")).rejects.toMatchObject({ code: "key_unusable" });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("a signer named otherwise than the log's origin signs nothing", async () => {
    await append("l15", 0, 1);
    const wrong = sequencer({ signers: () => [signerOf("l1")] });
    await expect(wrong.flush("l15")).rejects.toMatchObject({ code: "signer_mismatch" });
    expect(await latestCheckpoint(database.pool, "l15")).toBeUndefined();
  });
});
