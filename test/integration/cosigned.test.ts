import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { exportBundle, replayRun, verifyRun } from "../../src/audit/index.ts";
import { parseTrust, trustFormat, trustText, verifyEvidence } from "../../src/audit/offline/index.ts";
import type { OfflineReport, Trust } from "../../src/audit/offline/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { freePort } from "../../src/dev/index.ts";
import {
  appendToOutbox,
  checkpointOfSize,
  coveringCheckpoint,
  createCosigner,
  createSequencer,
  createSigner,
  createWitnessing,
  entryBodies,
  latestCheckpoint,
  publishedCheckpoint,
  loadOrCreateSeed,
  openWitnessState,
  parseCosignerKey,
  parseVerifierKey,
  proveConsistency,
  readKeyedEntries,
} from "../../src/ledger/index.ts";
import { formatCheckpoint, parseNote, signatureLine, signNote } from "../../src/ledger/proof/index.ts";
import { buildRunEvidence } from "../../src/server/run-evidence.ts";
import { buildRunRecord } from "../../src/server/run-record.ts";
import { runById } from "../../src/store/index.ts";
import { fetchHistories, fetchHistory, readBundle } from "../../src/temporal/index.ts";
import { freshDatabase } from "../support/database.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

const originOf = (log: string): string => `localhost/ledger/${log}`;
const signerOf = (log: string) => createSigner(originOf(log), Buffer.alloc(32, 3));
const verifierKey = signerOf("testers").verifierKey;
const logKeys = (log: string) => [parseVerifierKey(signerOf(log).verifierKey)];

const policy = (witnesses: number, within: string): string => `
@id("all") permit(principal, action, resource);
@id("pay-cosigned") @decision("cosigned") @witnesses("${witnesses}") @within("${within}") @reason("payments are witnessed first")
forbid(principal, action == Action::"tool/pay", resource);
`;
const pay = { tool: "pay", arguments: { to: "ada", amount_cents: 100 } };
const turns = [{ calls: [pay] }, { text: "done" }];

/** A witness that an auditor would run: a process of its own, whose key is known before it comes up. */
async function witnessIn(world: World, name: string) {
  const directory = join(world.folder, name);
  (await openWitnessState(directory)).close();
  const seed = await loadOrCreateSeed(join(directory, "witness.pem"));
  const port = await freePort();
  const { verifierKey: key } = createCosigner(`${name}.example/witness`, seed, () => 0);
  let child: ChildProcess | undefined;
  onTestFinished(() => void child?.kill());
  return {
    witness: { url: `http://127.0.0.1:${port}`, verifierKey: key, key: parseCosignerKey(key) },
    start(): void {
      const flags = ["--log", verifierKey, "--state", directory, "--name", `${name}.example/witness`];
      child = spawn(process.execPath, ["src/cli/main.ts", "ledger", "witness", ...flags, "--port", String(port)]);
    },
  };
}

type Witness = Awaited<ReturnType<typeof witnessIn>>["witness"];

/** The ledger's side of a deployment: entries are sequenced and signed, and the witnesses asked. */
function startLedger({ pool }: World, witnesses: readonly Witness[]): void {
  const sequencer = createSequencer({ pool, signers: (log) => [signerOf(log)], originOf, onError: () => undefined });
  const now = () => new Date();
  const witnessing = createWitnessing({ pool, witnesses, intervalMs: 200, now, onError: () => undefined });
  sequencer.start();
  witnessing.start();
  onTestFinished(async () => {
    await witnessing.stop();
    await sequencer.stop();
  });
}

const effects = (world: World): Promise<string> => readFile(world.effects, "utf8").catch(() => "");
const waiting = (world: World, run: RunId) =>
  until(async () => {
    const { rows } = await world.pool.query("select from effect where run = $1 and cosigning = 'waiting'", [run]);
    return rows[0];
  });

function servicesOf({ pool, keys, client }: World) {
  const sequencer = createSequencer({ pool, signers: (log) => [signerOf(log)], originOf, onError: () => undefined });
  return {
    pool,
    keys,
    ledger: { signerOf, originOf, flush: (log: string) => sequencer.flush(log) },
    runs: { histories: fetchHistories.bind(undefined, client), history: fetchHistory.bind(undefined, client) },
    now: () => new Date(),
    logger: { warn: () => undefined, error: () => undefined },
  } as never;
}

async function recordOf(world: World, run: RunId): Promise<RunRecord> {
  const row = await runById(world.pool, run);
  if (row === undefined) throw new Error("no such run");
  await world.client.workflow
    .getHandle(run)
    .result()
    .catch(() => undefined);
  return buildRunRecord(servicesOf(world), row);
}

async function exported(world: World, run: RunId, witnesses: readonly string[]): Promise<string> {
  const row = (await runById(world.pool, run))!;
  const { pool } = world;
  const { input, payloads, salt } = await recordOf(world, run);
  const { directory } = await exportBundle(
    {
      evidence: (_, size) => buildRunEvidence(servicesOf(world), row, size),
      contents: async () => ({ input, payloads, salt }),
      checkpoint: async (log) => (await latestCheckpoint(pool, log))?.note,
      cosigned: async (log) => (await publishedCheckpoint(pool, log, witnesses, witnesses.length))?.note,
      async *entries(log, size) {
        for await (const body of entryBodies(pool, log, size)) yield Buffer.from(body).toString("utf8");
      },
      consistency: async (log, from, to) =>
        (await proveConsistency(pool, log, from, to)).map((hash) => Buffer.from(hash).toString("hex")),
      code: async () => "",
    },
    {
      runs: [run],
      directory: join(world.folder, "evidence"),
      force: false,
      contents: true,
      wholeLogs: false,
      code: false,
      about: undefined,
      pinned: [],
      generator: { name: "countersign", version: "test" },
      now: new Date(),
      onProgress: () => undefined,
    },
  );
  return directory;
}

const trustIn = (witnesses: readonly string[], quorum = 0): Trust => ({
  format: trustFormat,
  logs: { testers: { verifierKeys: [verifierKey] }, people: { verifierKeys: [signerOf("people").verifierKey] } },
  approvers: [],
  witnesses: { keys: [...witnesses], quorum },
});
const offline = (directory: string, witnesses: readonly string[], quorum = 0): OfflineReport =>
  verifyEvidence({ directory, trust: parseTrust(trustText(trustIn(witnesses, quorum))) });
const codesOf = ({ verdict, checks }: OfflineReport) => [
  verdict,
  ...checks.flatMap(({ findings }) => findings.map(({ code }) => code)),
];

describe("a call that has to be cosigned", () => {
  test(
    "waits without a worker until enough witnesses have cosigned its intent, and is made on that checkpoint",
    { timeout: 180_000 },
    async () => {
      const world = await createWorld({ turns, policy: policy(2, "10m") });
      const [one, two] = [await witnessIn(world, "one"), await witnessIn(world, "two")];
      startLedger(world, [one.witness, two.witness]);
      await world.work({ cosigners: { witnesses: [one.witness, two.witness], logKeys } });
      one.start();
      const run = await world.start();
      await waiting(world, run);
      await until(async () => {
        const { rows } = await world.pool.query(
          `select from ledger_cosignature said join ledger_entry entry on entry.log = said.log and entry.idx < said.size
         where entry.dedup_key = $1`,
          [`${run}/1/intent`],
        );
        return rows[0];
      });
      // One of two has cosigned it. The wait is Temporal's: an activity that is tried again, and is not under way in between.
      await until(async () => {
        const { raw } = await world.client.workflow.getHandle(run).describe();
        return raw.pendingActivities?.find(({ activityType, attempt }) => {
          return activityType?.name === "awaitThaw" && (attempt ?? 0) > 1;
        });
      });
      expect(await effects(world)).toBe("");
      two.start();
      expect(await world.closed(run, 90_000)).toMatchObject({ status: "completed", spentCalls: 3 });
      expect((await effects(world)).split("\n").filter((line) => line.startsWith("begin"))).toHaveLength(1);

      const record = await recordOf(world, run);
      const witnesses = [one.witness.verifierKey, two.witness.verifierKey];
      const code = await readBundle(world.pool, record.run.workflowBundle ?? ("" as never));
      expect(await replayRun(record, code)).toMatchObject({ verdict: "verified" });
      expect(verifyRun(record, verifierKey, witnesses)).toMatchObject({ verdict: "verified" });
      // Without keys of witnesses nobody can say so, and other witnesses have not.
      expect(verifyRun(record, verifierKey)).toMatchObject({ verdict: "incomplete" });
      const stranger = createCosigner("stranger", Buffer.alloc(32, 5), () => 0).verifierKey;
      expect(verifyRun(record, verifierKey, [one.witness.verifierKey, stranger])).toMatchObject({ verdict: "refuted" });
      const without = { ...record, ledger: { ...record.ledger, cosigned: [] } };
      expect(verifyRun(without, verifierKey, witnesses)).toMatchObject({ verdict: "refuted" });
      const loose = {
        ...record,
        decisions: record.decisions.map((one) => ({ ...one, witnesses: null, cosignBy: null })),
      };
      expect((await replayRun(loose, code)).verdict).toBe("refuted");
      expect(verifyRun(loose, verifierKey, witnesses).verdict).toBe("refuted");

      const bundle = await exported(
        world,
        run,
        [one, two].map(({ witness }) => witness.key.name),
      );
      // For `test/vectors/evidence`, as in `test/e2e/evidence.test.ts`.
      const kept = process.env["RECORD_EVIDENCE"];
      if (kept !== undefined) {
        await cp(bundle, join(kept, "bundle"), { recursive: true });
        await writeFile(join(kept, "trust.json"), trustText(trustIn(witnesses)));
      }
      expect(codesOf(offline(bundle, witnesses))).toEqual(["verified"]);
      expect(codesOf(offline(bundle, witnesses, 2))).toEqual(["verified"]);
      expect(codesOf(offline(bundle, [one.witness.verifierKey]))).toEqual(["incomplete", "cosigning_unproven"]);
      expect(codesOf(offline(bundle, [one.witness.verifierKey, stranger]))).toEqual(["refuted", "not_cosigned"]);
    },
  );

  test.each([
    ["when its time is up", "2s", 1, /had not until/],
    ["at once where the worker knows too few", "10m", 2, /is told of 1/],
  ])("is not made %s, and the agent is told", async (_, within, wanted, told) => {
    const world = await createWorld({ turns, policy: policy(wanted, within) });
    const { witness } = await witnessIn(world, "down");
    startLedger(world, [witness]);
    await world.work({ cosigners: { witnesses: [witness], logKeys } });
    const run = await world.start();
    expect(await world.closed(run)).toMatchObject({ status: "completed" });
    expect(await effects(world)).toBe("");
    expect(await world.states(run)).toContain("pay:failed");
    const record = await recordOf(world, run);
    const { result } = record.steps[1]!;
    expect(record.payloads[result!]).toMatchObject({
      status: "denied",
      code: "not_cosigned",
      message: expect.stringMatching(told),
    });
    const code = await readBundle(world.pool, record.run.workflowBundle ?? ("" as never));
    expect(await replayRun(record, code)).toMatchObject({ verdict: "verified" });
    expect(verifyRun(record, verifierKey)).toMatchObject({ verdict: "verified" });
  });

  test("that still waits when its run is cancelled was never begun, and what it held is given back", async () => {
    const world = await createWorld({ turns, policy: policy(1, "10m") });
    const { witness } = await witnessIn(world, "down");
    startLedger(world, [witness]);
    await world.work({ cosigners: { witnesses: [witness], logKeys } });
    const run = await world.start();
    await waiting(world, run);
    await world.client.workflow.getHandle(run).cancel();
    expect(await world.closed(run)).toMatchObject({ status: "cancelled", heldMicroUsd: 0 });
    expect(await world.states(run)).toContain("pay:cancelled");
    expect(await effects(world)).toBe("");
    const record = await recordOf(world, run);
    expect(verifyRun(record, verifierKey)).toMatchObject({ verdict: "verified" });
  });
});

describe("a checkpoint covers an entry", () => {
  test("only signed by its log, cosigned by enough of the witnesses that are meant, and with the entry in it", async () => {
    const database = await freshDatabase();
    onTestFinished(() => database.close());
    const { pool } = database;
    const event = (n: number) => ({
      log: "testers",
      kind: "freeze.set" as const,
      dedupKey: `e-${n}`,
      at: new Date().toISOString(),
      facts: { n },
    });
    const sequencer = createSequencer({ pool, signers: (log) => [signerOf(log)], originOf, onError: () => undefined });
    await appendToOutbox(pool, [event(0), event(1)]);
    await sequencer.flush("testers");
    const { size: before } = (await latestCheckpoint(pool, "testers"))!;
    await appendToOutbox(pool, [event(2)]);
    await sequencer.flush("testers");
    const { size, note } = (await latestCheckpoint(pool, "testers"))!;
    const cosigner = (name: string, seed: number) => createCosigner(name, Buffer.alloc(32, seed), () => 1_790_000_000);
    const [one, two, other] = [cosigner("one", 1), cosigner("two", 2), cosigner("one", 4)];
    const meant = [one, two].map(({ verifierKey: key }) => ({ verifierKey: key, key: parseCosignerKey(key) }));
    const covered = (dedupKey = "e-2", isIt = () => true) =>
      coveringCheckpoint(pool, { witnesses: meant, logKeys }, { log: "testers", dedupKey, quorum: 2, isIt });
    /** Straight into the tables, as whoever holds the database could. */
    const say = async (of: number, as: typeof one, by = as, text = note) => {
      const line = signatureLine(by, Buffer.from(parseNote(text).text));
      await pool.query(
        "insert into ledger_cosignature (log, size, witness, line, at) values ('testers', $1, $2, $3, now())",
        [of, as.verifierKey, line],
      );
    };
    const old = (await checkpointOfSize(pool, "testers", before))!.note;

    // Stale: cosigned by both, and older than the entry.
    await say(before, one, one, old);
    await say(before, two, two, old);
    expect(await covered()).toBeUndefined();
    expect(await covered("e-1")).toEqual({ size: before });
    // Too few; then one that somebody else signed in the second's name; and one that was moved from the older checkpoint.
    await say(size, one);
    expect(await covered()).toBeUndefined();
    await say(size, two, other);
    expect(await covered()).toBeUndefined();

    // Sizes at which nothing was signed: what is said of them is all made up.
    await appendToOutbox(pool, [event(3), event(4), event(5), event(6)]);
    await sequencer.flush("testers");
    // A fork: another tree of the next size, signed by the log's own key, and cosigned by both.
    const fork = signNote(
      formatCheckpoint({ origin: originOf("testers"), size: size + 1, root: Buffer.alloc(32, 1) }),
      [signerOf("testers")],
    );
    const foreign = signNote(
      formatCheckpoint({ origin: originOf("others"), size: size + 2, root: Buffer.alloc(32, 1) }),
      [signerOf("others")],
    );
    for (const [at, text] of [
      [size + 1, fork],
      [size + 2, foreign],
      // The real one, said to be of another size.
      [size + 3, note],
    ] as const) {
      await pool.query("insert into ledger_checkpoint (log, size, note) values ('testers', $1, $2)", [at, text]);
      await say(at, one, one, text);
      await say(at, two, two, text);
    }
    expect(await covered()).toBeUndefined();
  });

  test("and it has to be the entry that is meant", async () => {
    const world = await createWorld({ turns });
    const { pool } = world;
    const one = await witnessIn(world, "one");
    const { witness } = one;
    one.start();
    startLedger(world, [witness]);
    await appendToOutbox(pool, [
      { log: "testers", kind: "freeze.set", dedupKey: "mine", at: new Date().toISOString(), facts: { n: 1 } },
    ]);
    const look = (n: number) =>
      coveringCheckpoint(
        pool,
        { witnesses: [witness], logKeys },
        { log: "testers", dedupKey: "mine", quorum: 1, isIt: ({ facts }) => facts["n"] === n },
      );
    await until(() => look(1));
    expect(await readKeyedEntries(pool, "testers", ["mine"])).toHaveLength(1);
    expect(await look(2)).toBeUndefined();
  });
});
