import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { LedgerEvent } from "../../src/core/ledger-event.ts";
import {
  appendToOutbox,
  createCosigner,
  createSequencer,
  createSigner,
  createWitnessing,
  latestCheckpoint,
  openWitnessState,
  parseCosignerKey,
  parseVerifierKey,
  signedNotesIn,
  startWitness,
  StoppedLogs,
} from "../../src/ledger/index.ts";
import type { SequencerOptions, Witness } from "../../src/ledger/index.ts";
import { parseNote, signNote } from "../../src/ledger/proof/index.ts";
import type { Pool } from "../../src/store/index.ts";
import { backUp, freshDatabase } from "../support/database.ts";
import { until } from "../support/world.ts";

const log = "shop";
const originOf = (name: string): string => `test.example/ledger/${name}`;
const signerOf = (name: string) => createSigner(originOf(name), Buffer.alloc(32, 7));

async function append(pool: Pool, from: number, count: number, what = "n"): Promise<void> {
  const events = Array.from({ length: count }, (_, n): LedgerEvent => ({
    log,
    kind: "freeze.set",
    dedupKey: `e-${from + n}`,
    at: "2026-01-02T03:04:05.678Z",
    facts: { [what]: from + n },
  }));
  await appendToOutbox(pool, events);
}

function sequencerOn(pool: Pool, more: Partial<SequencerOptions>) {
  return createSequencer({
    pool,
    signers: (name) => [signerOf(name)],
    originOf,
    intervalMs: 5,
    onError: () => undefined,
    ...more,
  });
}

async function folderOfOwn(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-restored-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

/** A log that was signed at 5, backed up, and signed at 15: and the backup restored. `meanwhile`: what happens to the log before that. */
async function restored(more: Partial<SequencerOptions>, meanwhile: (pool: Pool) => Promise<void> = async () => {}) {
  const whole = await freshDatabase();
  onTestFinished(() => whole.close());
  await append(whole.pool, 0, 5);
  await sequencerOn(whole.pool, more).flush(log);
  const backup = await backUp(whole);
  await append(whole.pool, 5, 10);
  await sequencerOn(whole.pool, more).flush(log);
  await meanwhile(whole.pool);
  const old = await backup.restore();
  onTestFinished(() => old.close());
  return { whole: whole.pool, old: old.pool };
}

const sizeOf = async (pool: Pool) => (await latestCheckpoint(pool, log))?.size;

test("a database that was restored from before signs nothing behind, beside or past what was signed", async () => {
  const kept = signedNotesIn(await folderOfOwn());
  const { whole, old } = await restored({ kept });
  const stopped = new StoppedLogs();
  const sequencer = sequencerOn(old, { kept, stopped });
  for (const [from, count] of [
    [5, 5],
    [10, 5],
    [15, 300],
  ] as const) {
    await append(old, from, count, "other");
    await expect(sequencer.flush(log)).rejects.toMatchObject({ code: "checkpoint_conflict" });
    expect(await sizeOf(old)).toBe(5);
  }
  expect(stopped.list()).toMatchObject([{ log, why: expect.stringContaining("contradicts its last checkpoint") }]);
  // The database that has it all goes on.
  await append(whole, 15, 3);
  await sequencerOn(whole, { kept, stopped }).flush(log);
  expect(await sizeOf(whole)).toBe(18);
  expect(stopped.list()).toEqual([]);
});

test("it is told when a server starts, also where nothing new is to be signed", async () => {
  const kept = signedNotesIn(await folderOfOwn());
  const { old } = await restored({ kept });
  const stopped = new StoppedLogs();
  const told: unknown[] = [];
  const sequencer = sequencerOn(old, { kept, stopped, onError: (error) => told.push(error) });
  sequencer.start();
  await until(async () => stopped.reason(log));
  await sequencer.stop();
  expect(told).toMatchObject([{ code: "checkpoint_conflict" }]);
});

test("a server keeps what the others sign, too", async () => {
  const [one, other] = [signedNotesIn(await folderOfOwn()), signedNotesIn(await folderOfOwn())];
  const { old } = await restored({ kept: one }, async (pool) => {
    const looking = sequencerOn(pool, { kept: other });
    looking.start();
    await until(async () => ((await other.last(log))?.size === 15 ? true : undefined));
    await looking.stop();
  });
  await append(old, 5, 20, "other");
  await expect(sequencerOn(old, { kept: other }).flush(log)).rejects.toMatchObject({ code: "checkpoint_conflict" });
});

test("a crash between keeping a note and publishing it signs the same again; a note that cannot be read or kept stops signing", async () => {
  const database = await freshDatabase();
  onTestFinished(() => database.close());
  const folder = await folderOfOwn();
  const kept = signedNotesIn(join(folder, "kept"));
  const { pool } = database;
  await append(pool, 0, 5);
  const lost = {
    ...kept,
    keep: async (...of: Parameters<typeof kept.keep>) => {
      await kept.keep(...of);
      throw new Error("killed");
    },
  };
  await expect(sequencerOn(pool, { kept: lost }).flush(log)).rejects.toThrow("killed");
  expect(await sizeOf(pool)).toBeUndefined();
  const [name = ""] = await readdir(join(folder, "kept"));
  const note = await readFile(join(folder, "kept", name), "utf8");
  await sequencerOn(pool, { kept }).flush(log);
  expect((await latestCheckpoint(pool, log))?.note).toBe(note);
  await append(pool, 5, 1);
  await writeFile(join(folder, "kept", name), "nothing of the kind");
  await expect(sequencerOn(pool, { kept }).flush(log)).rejects.toMatchObject({ code: "signed_notes_unusable" });
  const nowhere = signedNotesIn(join(folder, "kept", name, "below"));
  await expect(sequencerOn(pool, { kept: nowhere }).flush(log)).rejects.toMatchObject({
    code: "signed_notes_unusable",
  });
  expect(await sizeOf(pool)).toBe(5);
});

/** A real witness of the log, its state kept in `folder`. */
async function witnessIn(folder: string): Promise<Witness> {
  const signer = createCosigner("auditor.example/witness", Buffer.alloc(32, 5), () => 1_767_323_045);
  const server = await startWitness({
    host: "127.0.0.1",
    port: 0,
    logs: [parseVerifierKey(signerOf(log).verifierKey)],
    signer,
    state: await openWitnessState(folder),
    onEvent: () => undefined,
  });
  onTestFinished(() => server.stop());
  return { url: server.url, verifierKey: signer.verifierKey, key: parseCosignerKey(signer.verifierKey) };
}

const witnessingOf = (pool: Pool, witness: Witness, stopped: StoppedLogs, told: unknown[] = []) =>
  createWitnessing({
    pool,
    witnesses: [witness],
    intervalMs: 5,
    stopped,
    now: () => new Date(),
    onError: (error) => told.push(error),
  });

test("where the folder was lost too, a witness that is ahead stops the log, at start, and until it agrees", async () => {
  const state = await folderOfOwn();
  const witness = await witnessIn(state);
  const { whole, old } = await restored({}, async (pool) => {
    const witnessing = witnessingOf(pool, witness, new StoppedLogs());
    witnessing.start();
    await witnessing.asked();
    await witnessing.stop();
  });
  const stopped = new StoppedLogs();
  const witnessing = witnessingOf(old, witness, stopped);
  witnessing.start();
  await witnessing.asked();
  await append(old, 5, 30, "other");
  await expect(sequencerOn(old, { stopped }).flush(log)).rejects.toMatchObject({ code: "witness_contradicts" });
  expect(await sizeOf(old)).toBe(5);
  await witnessing.stop();
  // Where all is there again, the same witness lets it go on.
  const again = witnessingOf(whole, witness, stopped);
  again.start();
  await until(async () => (stopped.reason(log) === undefined ? true : undefined));
  await again.stop();
});

test("a forged cosignature of a huge size keeps no witness from being asked, and is told", async () => {
  const witness = await witnessIn(await folderOfOwn());
  const database = await freshDatabase();
  onTestFinished(() => database.close());
  const { pool } = database;
  await append(pool, 0, 5);
  await sequencerOn(pool, {}).flush(log);
  const note = (await latestCheckpoint(pool, log))?.note ?? "";
  const stranger = createCosigner("auditor.example/witness", Buffer.alloc(32, 6), () => 1_767_323_045);
  const forged = signNote(parseNote(note).text, [stranger]).split("\n").at(-2);
  const insert = "insert into ledger_cosignature (log, size, witness, line, at) values ($1, $2, $3, $4, now())";
  await pool.query(insert, [log, 9_000_000_000, witness.verifierKey, `${forged}\n`]);
  const told: unknown[] = [];
  const witnessing = witnessingOf(pool, witness, new StoppedLogs(), told);
  const cosigned = async () => (await pool.query<{ size: number }>("select size from ledger_cosignature")).rows;
  witnessing.start();
  await until(async () => ((await cosigned()).some(({ size }) => size === 5) ? true : undefined));
  await until(async () => (told.length > 0 ? true : undefined));
  await append(pool, 5, 5);
  await sequencerOn(pool, {}).flush(log);
  await until(async () => ((await cosigned()).some(({ size }) => size === 10) ? true : undefined));
  await witnessing.stop();
  expect(told[0]).toMatchObject({ code: "witness_unusable", message: expect.stringContaining("9000000000") });
});
