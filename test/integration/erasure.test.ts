import { spawnSync } from "node:child_process";
import { createHash, createHmac } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { exportBundle, replayRun, verifyRun } from "../../src/audit/index.ts";
import { parseTrust, verifyEvidence } from "../../src/audit/offline/index.ts";
import { evidenceSource } from "../../src/cli/evidence-source.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { erasePast } from "../../src/server/retain-contents.ts";
import {
  canonicalText,
  createRun,
  getPayload,
  getPayloads,
  payloadKeysOf,
  putPayloads,
  runById,
  sealingOf,
  setRetention,
  stepsOf,
} from "../../src/store/index.ts";
import { readBundle } from "../../src/temporal/index.ts";
import { createErasureWorld, signerOf } from "../support/erasure-world.ts";
import type { ErasureWorld } from "../support/erasure-world.ts";

const verifierKey = signerOf("testers").verifierKey;
const ada = { subject: { id: "cus_ada", email: "ada@example.com" }, tags: { note: "secret-of-ada" } };
const bob = { subject: { id: "cus_bob", email: "bob@example.com" }, tags: { note: "secret-of-bob" } };

const checkOf = (report: { checks: readonly { name: string; status: string; detail: string }[] }, name: string) =>
  report.checks.find((check) => check.name === name);

async function digestsOf({ pool }: ErasureWorld, run: RunId): Promise<readonly Digest[]> {
  const { rows } = await pool.query<{ digest: Digest }>("select digest from payload where key_id = $1", [run]);
  return rows.map(({ digest }) => digest);
}

async function recordOf(world: ErasureWorld, run: RunId): Promise<RunRecord> {
  return world.as("auditor").runRecord({ params: { run } });
}

async function exported(world: ErasureWorld, runs: readonly RunId[]) {
  const folder = mkdtempSync(join(tmpdir(), "countersign-erased-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const { directory } = await exportBundle(evidenceSource(world.as("auditor")), {
    runs,
    directory: join(folder, "bundle"),
    force: false,
    contents: true,
    wholeLogs: false,
    code: false,
    about: undefined,
    pinned: [],
    generator: { name: "countersign", version: "test" },
    now: new Date(),
    onProgress: () => undefined,
  });
  const trust = JSON.stringify({
    format: "countersign/trust/v1",
    logs: {
      testers: { verifierKeys: [verifierKey] },
      people: { verifierKeys: [signerOf("people").verifierKey] },
    },
    approvers: (await recordOf(world, runs.at(-1)!)).approvals.flatMap(({ decisions }) =>
      decisions.map(({ reviewer, keyId, publicKey }) => ({
        principal: reviewer,
        keyId,
        publicKey,
        groups: ["treasury"],
      })),
    ),
  });
  const names = (await readdir(directory, { recursive: true, withFileTypes: true })).filter((one) => one.isFile());
  const texts = await Promise.all(names.map((one) => readFile(join(one.parentPath, one.name), "utf8")));
  const second = spawnSync("python3", ["test/independent/verify_log.py", directory, "testers", verifierKey], {
    encoding: "utf8",
  });
  return { report: verifyEvidence({ directory, trust: parseTrust(trust) }), text: texts.join("\n"), second };
}

/** Everything that the server says of a run, as text. */
async function saidOf(world: ErasureWorld, run: RunId): Promise<string> {
  const client = world.as("admin");
  const { approvals } = await client.showRun({ params: { run } });
  const texts = await Promise.all([
    client.showRun({ params: { run } }),
    client.runRecord({ params: { run } }),
    client.runEvidence({ params: { run } }),
    ...approvals.map(({ id }) => client.showApproval({ params: { approval: id } })),
    fetch(`${world.url}/v1/runs/${run}/events`, { headers: { authorization: `Bearer ${world.tokens.admin}` } }).then(
      (answer) => answer.text(),
    ),
  ]);
  return JSON.stringify(texts);
}

test(
  "of two people one is erased: nothing of theirs can be read by any way, all else verifies, and says ERASED",
  { timeout: 150_000 },
  async () => {
    const world = await createErasureWorld();
    await world.work();
    const [hers, second, his] = await Promise.all([world.done(ada), world.done(ada), world.done(bob)]);
    const before = await recordOf(world, hers);
    expect(verifyRun(before, verifierKey).checks.flatMap(({ problems }) => problems)).toEqual([]);
    expect(verifyRun(before, verifierKey)).toMatchObject({ verdict: "verified" });
    expect(await saidOf(world, hers)).toContain("secret-of-ada");
    const whole = await exported(world, [hers, his]);
    expect(whole.report.checks.flatMap(({ findings }) => findings)).toEqual([]);
    expect(whole.report.verdict).toBe("verified");
    expect(whole.text).toContain("secret-of-ada");

    const admin = world.as("admin");
    const body = { subject: "cus_ada", reason: "asked by the person" };
    const digests = [...(await digestsOf(world, hers)), ...(await digestsOf(world, second))];
    const looked = await admin.erase({ body: { ...body, dryRun: true } });
    expect(looked).toMatchObject({ erased: false, runs: 2, payloads: digests.length, older: 0, obstacles: [] });
    expect(await saidOf(world, hers)).toContain("secret-of-ada");
    expect(await admin.erase({ body })).toMatchObject({ erased: true, runs: 2, teams: ["testers"] });
    expect(await admin.erase({ body })).toMatchObject({ erased: false, runs: 0, before: 2 });

    // This process has unwrapped the key a moment ago, and holds it still.
    expect(await getPayloads(world.pool, world.keys, digests)).toEqual(new Map());
    const { rows } = await world.pool.query("select wrapped from data_key where destroyed_at is not null");
    expect(rows).toEqual([{ wrapped: null }]);
    // Nor is anything written for them any more, under whatever key.
    for (const run of [hers, second])
      await expect(sealingOf(world.pool, world.keys, run)).rejects.toMatchObject({ code: "contents_erased" });
    for (const run of [hers, second]) expect(await saidOf(world, run)).not.toMatch(/secret-of-ada|ada@example/);
    expect(await saidOf(world, his)).toContain("secret-of-bob");
    expect(await admin.showRun({ params: { run: hers } })).toMatchObject({
      input: null,
      output: null,
      run: { contentsErasedAt: expect.any(String), status: "completed" },
    });

    const [entry] = await world.entries("payload.erased");
    const code = await readBundle(world.pool, before.run.workflowBundle!);
    for (const run of [hers, second]) {
      const record = await recordOf(world, run);
      expect(record).toMatchObject({ payloads: {} });
      expect(record.salt).toBeUndefined();
      const [verified, replayed] = [verifyRun(record, verifierKey), await replayRun(record, code)];
      expect(verified.checks.flatMap(({ problems }) => problems)).toEqual([]);
      expect([verified.verdict, replayed.verdict]).toEqual(["verified", "verified"]);
      expect(checkOf(verified, "contents")).toMatchObject({ status: "erased" });
      expect(checkOf(verified, "contents")?.detail).toContain(`ERASED (ledger entry ${entry?.index},`);
      expect(checkOf(replayed, "decisions")?.status).toBe("erased");
      expect(checkOf(replayed, "history")?.status).toBe("passed");
    }
    const { report, text, second: reader } = await exported(world, [hers, his]);
    expect(report.checks.flatMap(({ findings }) => findings)).toEqual([]);
    expect(report.verdict).toBe("verified");
    expect(report.notProven.join("\n")).toContain(
      `${hers} was about: its contents are ERASED (entry ${entry?.index} of`,
    );
    expect(text).not.toMatch(/secret-of-ada|ada@example/);
    expect(text).toContain("secret-of-bob");
    // Where there is no Python, nobody is there to disagree.
    expect(reader.error === undefined ? JSON.parse(reader.stdout) : { erased: 1 }).toMatchObject({ erased: 1 });

    await missingIsNotErased(await recordOf(world, hers), before, await recordOf(world, his));
    // A new run of hers has a new key.
    const again = await world.done(ada);
    expect(await saidOf(world, again)).toContain("secret-of-ada");
  },
);

/** What only looks like an erasure is refuted. */
async function missingIsNotErased(erased: RunRecord, whole: RunRecord, other: RunRecord): Promise<void> {
  const verdict = (record: RunRecord) => verifyRun(record, verifierKey).verdict;
  const { salt: _salt, ...unsalted } = whole;
  expect(verdict({ ...unsalted, payloads: {}, input: { prompt: "" } })).toBe("refuted");
  expect(verdict({ ...erased, ledger: { ...erased.ledger, erasures: [] } })).toBe("refuted");
  // Somebody else's key in the row does not make the entry theirs.
  const { salt: _other, ...unsaltedOther } = other;
  const { erasures = [] } = erased.ledger;
  const stolen = { ...other.ledger, erasures };
  expect(verdict({ ...unsaltedOther, payloads: {}, input: { prompt: "" }, ledger: stolen })).toBe("refuted");
  const run = { ...other.run, dataKey: erased.run.dataKey! };
  expect(verdict({ ...unsaltedOther, run, payloads: {}, input: { prompt: "" }, ledger: stolen })).toBe("refuted");
  const forged = erasures.map((entry) => ({
    ...entry,
    leaf: entry.leaf.replace("asked by the person", "nobody asked"),
  }));
  expect(verdict({ ...erased, ledger: { ...erased.ledger, erasures: forged } })).toBe("refuted");
  // A run of before cannot be made of one with a salt.
  const { dataKey: _key, ...older } = whole.run;
  expect(verdict({ ...unsalted, run: older })).toBe("refuted");
}

test("a hold and a run at work each refuse, and say so; who may do what", async () => {
  const world = await createErasureWorld();
  await world.work();
  const run = await world.done(ada);
  const [admin, auditor] = [world.as("admin"), world.as("auditor")];
  const erase = (target: { subject: string } | { run: RunId }) => admin.erase({ body: { ...target, reason: "r" } });
  const { hold: onRun } = await auditor.placeHold({ body: { run, reason: "case 7" } });
  await expect(erase({ subject: "cus_ada" })).rejects.toMatchObject({ code: "legal_hold" });
  await expect(erase({ run })).rejects.toMatchObject({ code: "legal_hold" });
  await admin.liftHold({ body: { hold: onRun.id, reason: "closed" } });
  expect(await auditor.placeHold({ body: { subject: "cus_ada", reason: "case 8" } })).toMatchObject({ runs: 1 });
  expect(await auditor.placeHold({ body: { subject: "nobody", reason: "case 8" } })).toMatchObject({ runs: 0 });
  await expect(erase({ run })).rejects.toMatchObject({ code: "legal_hold" });
  expect(await auditor.listHolds({ body: { run } })).toMatchObject({ holds: [{ on: "subject", reason: "case 8" }] });
  expect((await admin.erase({ body: { run, reason: "r", dryRun: true } })).obstacles).toEqual([
    expect.stringContaining("case 8"),
  ]);
  await expect(auditor.liftHold({ body: { subject: "cus_ada", reason: "r" } })).rejects.toMatchObject({
    code: "forbidden",
  });
  await admin.liftHold({ body: { subject: "cus_ada", reason: "closed" } });
  await expect(admin.liftHold({ body: { subject: "cus_ada", reason: "r" } })).rejects.toMatchObject({
    code: "hold_not_found",
  });
  expect((await world.entries("hold.placed")).map(({ facts }) => facts["run"])).toEqual([run]);
  expect(await world.entries("hold.lifted", "people")).toHaveLength(1);

  const open = await world.start(ada);
  await world.request(open);
  await expect(erase({ subject: "cus_ada" })).rejects.toMatchObject({ code: "run_open" });
  await expect(world.as("operator").erase({ body: { run, reason: "r" } })).rejects.toMatchObject({ code: "forbidden" });
  await expect(auditor.erase({ body: { run, reason: "r" } })).rejects.toMatchObject({ code: "forbidden" });
  await expect(erase({ subject: "cus_nobody" })).rejects.toMatchObject({ code: "nothing_to_erase" });
  expect(await erase({ run })).toMatchObject({ erased: true, runs: 1 });
  expect(await saidOf(world, run)).not.toContain("secret-of-ada");
  expect(await admin.showRun({ params: { run: open } })).toMatchObject({ input: { tags: ada.tags } });

  // Each way by which an auditor reads contents is an entry.
  const reads = async () =>
    (await world.entries("audit.read")).map(({ facts }) => JSON.stringify([facts["by"], facts["what"]]));
  const earlier = (await reads()).length;
  const { approvals } = await auditor.showRun({ params: { run: open } });
  await auditor.showApproval({ params: { approval: approvals[0]!.id } });
  await world.as("operator").showRun({ params: { run: open } });
  const stop = new AbortController();
  const watched = await fetch(`${world.url}/v1/runs/${open}/events`, {
    headers: { authorization: `Bearer ${world.tokens.auditor}` },
    signal: stop.signal,
  });
  expect(watched.status).toBe(200);
  stop.abort();
  expect((await reads()).slice(earlier)).toEqual(
    ["run", "approval", "events"].map((what) => JSON.stringify(["auditor", what])),
  );
});

test("what fails in the middle of an erasure leaves neither a key without its entry nor an entry without its key", async () => {
  const world = await createErasureWorld();
  await world.work();
  const run = await world.done(ada);
  await world.pool.query(`
    create function fail() returns trigger language plpgsql as $$ begin raise exception 'power cut'; end $$;
    create constraint trigger cut after insert on ledger_outbox deferrable initially deferred for each row execute function fail()`);
  await expect(world.as("admin").erase({ body: { subject: "cus_ada", reason: "r" } })).rejects.toMatchObject({
    code: "internal",
  });
  await world.pool.query("drop trigger cut on ledger_outbox");
  // Nor the other way round: what keeps the key from going keeps the entry from coming.
  await world.pool.query(`
    create constraint trigger cut after update on data_key deferrable initially deferred for each row execute function fail()`);
  await expect(world.as("admin").erase({ body: { subject: "cus_ada", reason: "r" } })).rejects.toMatchObject({
    code: "internal",
  });
  await world.pool.query("drop trigger cut on data_key");
  expect(await saidOf(world, run)).toContain("secret-of-ada");
  expect(await world.entries("payload.erased")).toEqual([]);
  expect(await world.as("admin").erase({ body: { subject: "cus_ada", reason: "r" } })).toMatchObject({ erased: true });
  await expect(world.pool.query("update data_key set wrapped = '\\x00', destroyed_at = null")).rejects.toThrow(
    "destroyed",
  );
  await expect(world.pool.query("update run set sealed_key = '\\x00', contents_erased_at = null")).rejects.toThrow(
    "keys",
  );
});

test("nobody guesses contents from what is left of them; of a run of before they could", async () => {
  const world = await createErasureWorld();
  await world.work();
  const run = await world.done(ada);
  await world.as("admin").erase({ body: { subject: "cus_ada", reason: "r" } });
  const left = JSON.stringify([
    await world.as("auditor").runEvidence({ params: { run } }),
    (await world.pool.query("select to_jsonb(step) from step where run = $1", [run])).rows,
    (await world.pool.query("select to_jsonb(decision) from decision where run = $1", [run])).rows,
    (await world.pool.query("select digest from payload")).rows,
  ]);
  const sha = (text: string) => createHash("sha256").update(text).digest("hex");
  const guesses = Array.from({ length: 10_000 }, (_, cents) => canonicalText({ to: "ada", amount_cents: cents }));
  const unsalted = (text: string) => createHmac("sha256", Buffer.alloc(32)).update(`countersign/content/v1\n${text}`);
  const others = [canonicalText({ text: "done" }), canonicalText({ status: "ok", value: { paid: 6_000 } })];
  const found = [...guesses, ...others].filter(
    (text) => left.includes(sha(text)) || left.includes(unsalted(text).digest("hex")),
  );
  expect(found).toEqual([]);
  const [bare] = await putPayloads(world.pool, world.keys, [{ to: "ada", amount_cents: 6_000 }]);
  expect(guesses.map(sha)).toContain(bare);
});

test("a ciphertext or a key in another's place is refused; what was written before there were keys of runs is read", async () => {
  const world = await createErasureWorld();
  await world.work();
  const [hers, his] = await Promise.all([world.done(ada), world.done(bob)]);
  const { pool, keys } = world;
  const swap = async (a: Digest, b: Digest, work: () => Promise<void>) => {
    const exchange = `update payload p set nonce = q.nonce, ciphertext = q.ciphertext, key_id = q.key_id from payload q
      where (p.digest, q.digest) in (($1, $2), ($2, $1))`;
    await pool.query(exchange, [a, b]);
    await work();
    await pool.query(exchange, [a, b]);
  };
  const [first, second] = await digestsOf(world, hers);
  const [other] = await digestsOf(world, his);
  for (const [a, b] of [
    [first!, second!],
    [first!, other!],
  ] as const)
    await swap(a, b, async () => {
      await expect(getPayload(pool, keys, a)).rejects.toMatchObject({ code: "payload_corrupt" });
    });
  await expect(getPayload(pool, keys, first!)).resolves.toBeDefined();
  // Her key in his row: as who holds the database would do it.
  await pool.query("alter table run disable trigger keyed_once");
  await pool.query("update run set sealed_key = (select sealed_key from run where id = $1) where id = $2", [hers, his]);
  await expect(getPayload(pool, keys, other!)).rejects.toMatchObject({ code: "payload_corrupt" });
  await pool.query("alter table data_key disable trigger destroyed_once");
  await pool.query(
    "update data_key set wrapped = (select wrapped from data_key where id <> k.id limit 1) from data_key k where k.id = data_key.id",
  );
  const elsewhere = payloadKeysOf(Buffer.alloc(32, 7));
  await expect(getPayload(pool, elsewhere, first!)).rejects.toMatchObject({ code: "key_unusable" });

  const [input] = await putPayloads(pool, keys, [{ prompt: "older" }]);
  const older = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV" as RunId;
  const { release, limits } = { release: world.release.digest, limits: world.release.document.limits };
  const facts = { team: "testers", agent: "tester", requestedBy: "operator", subjectKey: "", now: new Date() };
  await createRun(pool, { id: older, release, limits, input: input!, ...facts });
  expect(await world.as("admin").showRun({ params: { run: older } })).toMatchObject({ input: { prompt: "older" } });
  await world.as("operator").cancelRun({ params: { run: older } });
  const record = await recordOf(world, older);
  expect(record.run.dataKey).toBeUndefined();
  expect(verifyRun(record, verifierKey).verdict).toBe("verified");
  expect(await world.as("admin").erase({ body: { run: older, reason: "r" } })).toMatchObject({
    erased: false,
    older: 1,
    runs: 0,
  });
});

test("contents past their retention are erased by the server, those with longer kept effects and those on hold are not", async () => {
  const world = await createErasureWorld();
  await world.work();
  const [hers, his, open] = await Promise.all([world.done(ada), world.done(bob), world.start(ada)]);
  await world.request(open);
  const { pool, keys } = world;
  const at = new Date();
  const late = new Date(at.getTime() + 3 * 86_400_000);
  const services = { pool, keys, now: () => late, logger: { warn: () => undefined }, stopping: AbortSignal.any([]) };
  const by = { reason: "policy", by: "admin", now: at };
  const states = () =>
    Promise.all([hers, his].map(async (run) => (await runById(pool, run))?.contentsErasedAt ?? null));
  await setRetention(pool, { team: "testers", days: 2, effects: { write: 30 } }, by);
  await erasePast(services as never);
  expect(await states()).toEqual([null, null]);
  await world.as("auditor").placeHold({ body: { subject: "cus_bob", reason: "case 9" } });
  await world.as("admin").setRetention({
    body: { team: "testers", days: 30, effects: { write: 2, destructive: 90 }, reason: "less" },
  });
  // What it would be under another setting is told, and nothing is done: who is held or keeps longer is not in it.
  const asked = { team: "testers", days: 0, effects: { write: 0 }, reason: "look" };
  const entries = (await world.entries("retention.set")).length;
  const looked = await world.as("admin").setRetention({ body: { ...asked, dryRun: true } });
  expect(looked).toEqual({ set: false, due: [hers] });
  expect(await world.as("auditor").listRetentions({})).toMatchObject({ retentions: [{ days: 30, reason: "less" }] });
  expect(await world.entries("retention.set")).toHaveLength(entries);
  await expect(world.as("admin").setRetention({ body: { ...asked, team: "nosuch" } })).rejects.toMatchObject({
    code: "agent_not_found",
  });
  await expect(world.as("auditor").setRetention({ body: { ...asked, dryRun: true } })).rejects.toMatchObject({
    code: "forbidden",
  });
  await erasePast({ ...services, now: () => new Date(at.getTime() + 86_400_000) } as never);
  expect(await states()).toEqual([null, null]);
  await erasePast(services as never);
  expect(await states()).toEqual([late, null]);
  expect((await runById(pool, open))?.contentsErasedAt).toBeNull();
  expect((await stepsOf(pool, hers)).length).toBeGreaterThan(3);
  const [entry] = await world.entries("payload.erased");
  expect(entry?.facts as Json).toMatchObject({ run: hers, cause: "retention", by: "retention" });
  expect(verifyRun(await recordOf(world, hers), verifierKey).verdict).toBe("verified");
}, 150_000);
