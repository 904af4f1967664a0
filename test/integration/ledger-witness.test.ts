import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LedgerEvent } from "../../src/core/ledger-event.ts";
import {
  appendToOutbox,
  createCosigner,
  createSequencer,
  createSigner,
  latestCheckpoint,
  loadOrCreateSigners,
  loadSigners,
  loadWitnesses,
  openWitnessState,
  parseCosignerKey,
  parseVerifierKey,
  publishedCheckpoint,
  readEntries,
  retireKeys,
  rotateKey,
  startWitness,
  tilePath,
} from "../../src/ledger/index.ts";
import type { Signer, Witness } from "../../src/ledger/index.ts";
import { cosignLatest } from "../../src/ledger/witnesses.ts";
import { formatRequest } from "../../src/ledger/witness/add-checkpoint.ts";
import {
  CompactRange,
  formatCheckpoint,
  leafHash,
  openCheckpoint,
  parseNote,
  rootOf,
  signatureLine,
  signNote,
  verifyNote,
} from "../../src/ledger/proof/index.ts";
import type { Hash } from "../../src/ledger/proof/index.ts";
import { hashToken, putPrincipal } from "../../src/registry/index.ts";
import { buildHttp } from "../../src/server/http.ts";
import type { Services } from "../../src/server/dependencies.ts";
import { freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

const originOf = (log: string): string => `test.example/ledger/${log}`;
const signerOf = (log: string): Signer => createSigner(originOf(log), Buffer.alloc(32, 7));
const now = (): Date => new Date("2026-01-02T03:04:05.678Z");
const never = new AbortController().signal;

function must<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error("expected a value");
  return value;
}

let database: TestDatabase;
let folder: string;
beforeAll(async () => {
  database = await freshDatabase();
  folder = await mkdtemp(join(tmpdir(), "countersign-witness-"));
});
afterAll(async () => {
  await database.close();
  await rm(folder, { recursive: true });
});

async function grow(
  log: string,
  from: number,
  count: number,
  signers: readonly Signer[] = [signerOf(log)],
): Promise<void> {
  const events = Array.from({ length: count }, (_, n): LedgerEvent => ({
    log,
    kind: "freeze.set",
    dedupKey: `e-${from + n}`,
    at: now().toISOString(),
    facts: { n },
  }));
  const { pool } = database;
  await appendToOutbox(pool, events);
  await createSequencer({ pool, signers: () => signers, originOf, onError: () => undefined }).flush(log);
}

/** A real witness of `log`, and what the log's operator knows of it. */
async function witnessOf(log: string, name = "auditor.example/witness") {
  const directory = join(folder, `${log}-${name.replaceAll("/", "-")}`);
  const signer = createCosigner(name, Buffer.alloc(32, name.length), () => 1_767_323_045);
  const said: string[] = [];
  const state = await openWitnessState(directory);
  const server = await startWitness({
    host: "127.0.0.1",
    port: 0,
    logs: [parseVerifierKey(signerOf(log).verifierKey)],
    signer,
    state,
    onEvent: (line) => said.push(line),
  });
  const witness: Witness = {
    url: server.url,
    verifierKey: signer.verifierKey,
    key: parseCosignerKey(signer.verifierKey),
  };
  const post = (body: string) => fetch(`${server.url}/add-checkpoint`, { method: "POST", body });
  const stop = async (): Promise<void> => {
    await server.stop();
    state.close();
  };
  return { witness, directory, said, post, stop };
}

const cosign = (log: string, witness: Witness) => cosignLatest({ pool: database.pool, now }, log, witness, never);

describe("a witness", () => {
  test("has its folder for itself", async () => {
    const { directory, stop } = await witnessOf("alone");
    await expect(openWitnessState(directory)).rejects.toMatchObject({ code: "witness_state_unusable" });
    // Nor can another process have it, until the first lets go.
    const flags = ["--log", signerOf("alone").verifierKey, "--state", directory, "--port", "0", "--json"];
    const second = spawnSync(process.execPath, ["src/cli/main.ts", "ledger", "witness", ...flags], {
      encoding: "utf8",
    });
    expect(second.status).toBe(2);
    expect(JSON.parse(second.stdout)).toMatchObject({ error: { code: "witness_state_unusable" } });
    await stop();
    (await openWitnessState(directory)).close();
  });

  test("cosigns a log as it grows, and the published checkpoint carries it", async () => {
    const { witness, stop } = await witnessOf("w1");
    const published = () => publishedCheckpoint(database.pool, "w1", [witness.verifierKey], 1);
    await grow("w1", 0, 3);
    await cosign("w1", witness);
    await grow("w1", 3, 300);
    // The newest is not cosigned yet: the newest that is stays the one to show.
    expect((await published())?.size).toBe(3);
    await cosign("w1", witness);
    const { note, size } = must(await published());
    expect(size).toBe(303);
    expect(verifyNote(note, [parseVerifierKey(signerOf("w1").verifierKey), witness.key]).signedBy).toHaveLength(2);
    await stop();
  });

  test("whose answer was lost, and one that was set up anew, are caught up with", async () => {
    const { witness, post, directory, stop } = await witnessOf("w2");
    await grow("w2", 0, 5);
    const first = must(await latestCheckpoint(database.pool, "w2"));
    expect((await post(formatRequest({ oldSize: 0, proof: [], note: first.note }))).status).toBe(200);
    await grow("w2", 5, 5);
    await cosign("w2", witness);
    for (const name of await readdir(directory)) {
      if (name.endsWith(".checkpoint")) await rm(join(directory, name));
    }
    await grow("w2", 10, 5);
    await cosign("w2", witness);
    expect((await publishedCheckpoint(database.pool, "w2", [witness.verifierKey], 1))?.size).toBe(15);
    await stop();
  });

  test("refuses a rollback and a fork, keeps what the log signed as evidence, and the operator is told", async () => {
    const { witness, post, directory, stop } = await witnessOf("w3");
    await grow("w3", 0, 8);
    await cosign("w3", witness);
    const key = signerOf("w3");
    const forked = (size: number) => {
      const range = CompactRange.empty();
      for (let n = 0; n < size; n += 1) range.append(leafHash(Buffer.from(`another ${n}`)));
      return signNote(formatCheckpoint({ origin: key.name, size, root: range.root() }), [key]);
    };
    const answers = [];
    for (const body of [
      formatRequest({ oldSize: 8, proof: [], note: forked(8) }),
      formatRequest({ oldSize: 8, proof: [Buffer.alloc(32)], note: forked(9) }),
      formatRequest({ oldSize: 3, proof: [], note: forked(9) }),
      formatRequest({ oldSize: 9, proof: [], note: forked(4) }),
    ]) {
      const answer = await post(body);
      answers.push([answer.status, await answer.text()]);
    }
    expect(answers.map(([status]) => status)).toEqual([409, 422, 409, 400]);
    expect(answers[2]).toEqual([409, "8\n"]);
    expect(await readdir(join(directory, "contradictions"))).toHaveLength(2);
    // Anybody may send them again, with signatures of nobody, as often as they like.
    for (const n of [1, 2, 3]) {
      const stranger = createSigner("stranger.example", Buffer.alloc(32, n));
      const { text } = parseNote(forked(9));
      const note = `${forked(9)}${signatureLine(stranger, Buffer.from(text))}`;
      expect((await post(formatRequest({ oldSize: 8, proof: [Buffer.alloc(32, n)], note }))).status).toBe(422);
    }
    const kept = await readdir(join(directory, "contradictions"));
    expect(kept).toHaveLength(2);
    const notes = await Promise.all(kept.map((name) => readFile(join(directory, "contradictions", name), "utf8")));
    expect(notes.toSorted()).toEqual([forked(8), forked(9)].toSorted());
    await stop();
    // Another copy of the log was shown to a witness first: it refuses this one, and the operator is told.
    const second = await witnessOf("w3", "second.example/witness");
    expect((await second.post(formatRequest({ oldSize: 0, proof: [], note: forked(3) }))).status).toBe(200);
    await expect(cosign("w3", second.witness)).rejects.toMatchObject({ code: "witness_contradicts" });
    await second.stop();
    // And one that has seen more than there is now.
    const third = await witnessOf("w3", "third.example/witness");
    expect((await third.post(formatRequest({ oldSize: 0, proof: [], note: forked(9) }))).status).toBe(200);
    await expect(cosign("w3", third.witness)).rejects.toThrow(
      "is at size 9, and 8 is the largest that was signed here",
    );
    await third.stop();
  });

  test.each([
    ["no request", "hello", 400],
    ["proof that is no hashes", "old 0\nAAAA\n\nx\n", 400],
    ["unknown log", formatRequest({ oldSize: 0, proof: [], note: noteOf("elsewhere", 7) }), 404],
    ["another's signature", formatRequest({ oldSize: 0, proof: [], note: noteOf("w4", 8) }), 403],
    [
      "a proof where there is nothing before",
      formatRequest({ oldSize: 0, proof: [Buffer.alloc(32)], note: noteOf("w4", 7) }),
      422,
    ],
    ["too much", "x".repeat(70_000), 413],
  ])("refuses %s", async (_what, body, status) => {
    const { post, directory, stop } = await witnessOf("w4");
    expect((await post(body)).status).toBe(status);
    expect((await readdir(directory)).filter((name) => name.endsWith(".checkpoint"))).toEqual([]);
    await stop();
  });

  test("with a spoiled memory cosigns nothing", async () => {
    const { witness, directory, stop } = await witnessOf("w5");
    await grow("w5", 0, 2);
    await cosign("w5", witness);
    const [file] = (await readdir(directory)).filter((name) => name.endsWith(".checkpoint"));
    await writeFile(join(directory, must(file)), "");
    await grow("w5", 2, 2);
    await expect(cosign("w5", witness)).rejects.toMatchObject({ code: "witness_unusable" });
    await stop();
  });

  test("that signs with another key than was configured is not believed", async () => {
    const { witness, stop } = await witnessOf("w6");
    const other = parseCosignerKey(createCosigner(witness.key.name, Buffer.alloc(32, 99), () => 0).verifierKey);
    await grow("w6", 0, 2);
    await expect(cosign("w6", { ...witness, key: other })).rejects.toMatchObject({ code: "witness_unusable" });
    await stop();
  });
});

function noteOf(log: string, seed: number): string {
  const signer = createSigner(originOf(log), Buffer.alloc(32, seed));
  return signNote(formatCheckpoint({ origin: signer.name, size: 1, root: leafHash(Buffer.from("x")) }), [signer]);
}

test("a reader that knows C2SP tlog-tiles and nothing of ours rebuilds the log", async () => {
  await grow("t1", 0, 700);
  const auditor = { id: "auditor", displayName: "Auditor", roles: ["auditor" as const], groups: [] };
  await putPrincipal(database.pool, auditor, hashToken("a-token-of-the-auditor"));
  const ledger = { originOf, signerOf };
  const site = () => ({ origin: "http://localhost", rpId: "localhost", virtualAuthenticators: false });
  const http = await buildHttp({ pool: database.pool, ledger, site } as unknown as Services, {
    logger: pino({ level: "silent" }),
  });
  const get = async (path: string, token = "a-token-of-the-auditor") =>
    http.inject({ url: `/ledger/t1/${path}`, headers: { authorization: `Bearer ${token}`, host: "localhost" } });
  const checkpoint = await get("checkpoint");
  expect(checkpoint.headers).toMatchObject({
    "content-type": "text/plain; charset=utf-8",
    "cache-control": "no-cache",
  });
  const { size, root } = openCheckpoint(checkpoint.body, parseVerifierKey(signerOf("t1").verifierKey));
  expect(size).toBe(700);
  const leaves: Hash[] = [];
  for (let n = 0; n * 256 < size; n += 1) {
    const width = Math.min(256, size - n * 256);
    const bundle = (await get(`tile/${tilePath({ kind: "entries", n, width })}`)).rawPayload;
    const tile = await get(`tile/${tilePath({ kind: "hashes", level: 0, n, width })}`);
    expect(tile.headers["cache-control"]).toContain("immutable");
    const hashes: Hash[] = [];
    for (let offset = 0; offset < bundle.length;) {
      const length = bundle.readUInt16BE(offset);
      hashes.push(leafHash(bundle.subarray(offset + 2, offset + 2 + length)));
      offset += 2 + length;
    }
    expect(Buffer.concat(hashes).equals(tile.rawPayload)).toBe(true);
    leaves.push(...hashes);
  }
  expect(Buffer.from(rootOf(leaves)).equals(Buffer.from(root))).toBe(true);
  const upper = (await get("tile/1/000.p/2")).rawPayload;
  expect(upper.subarray(32).equals(Buffer.from(rootOf(leaves.slice(256, 512))))).toBe(true);

  for (const missing of [
    "tile/0/003",
    "tile/0/002",
    "tile/0/002.p/189",
    "tile/1/000.p/3",
    "tile/7/000",
    "tile/nonsense",
  ]) {
    expect((await get(missing)).statusCode).toBe(404);
  }
  expect((await get("checkpoint", "not-a-token-of-anyone")).statusCode).toBe(401);
  const open = await buildHttp(
    { pool: database.pool, ledger: { ...ledger, open: true }, site } as unknown as Services,
    {
      logger: pino({ level: "silent" }),
    },
  );
  expect((await open.inject({ url: "/ledger/t1/checkpoint", headers: { host: "localhost" } })).statusCode).toBe(200);
});

test("a new key signs beside the old one, the log says so, and the old one goes", async () => {
  const path = join(folder, "ledger.pem");
  await loadOrCreateSigners(path);
  const [old] = await loadSigners(path, originOf("k1"));
  await grow("k1", 0, 2, await loadSigners(path, originOf("k1")));
  await rotateKey(path);
  const both = await loadSigners(path, originOf("k1"));
  await grow("k1", 2, 1, both);
  await grow("k1", 3, 1, both);
  const { note } = must(await latestCheckpoint(database.pool, "k1"));
  expect(parseNote(note).signatures).toHaveLength(2);
  expect(openCheckpoint(note, parseVerifierKey(old.verifierKey)).size).toBe(5);
  const told = (await readEntries(database.pool, "k1", 0, 10)).filter(({ entry }) => entry.kind === "log.key.rotated");
  expect(told.map(({ entry }) => entry.facts)).toEqual([
    { key: both[0].verifierKey, before: old.verifierKey, sinceSize: 3 },
  ]);
  expect(await retireKeys(path)).toBe(1);
  await grow("k1", 4, 1, await loadSigners(path, originOf("k1")));
  const last = must(await latestCheckpoint(database.pool, "k1")).note;
  expect(() => openCheckpoint(last, parseVerifierKey(old.verifierKey))).toThrow("no signature of a known key");
  expect(openCheckpoint(last, parseVerifierKey(both[0].verifierKey)).size).toBe(6);
  expect((await readFile(path, "utf8")).match(/BEGIN/g)).toHaveLength(1);
});

test("a file of witnesses", async () => {
  const path = join(folder, "witnesses.json");
  const { verifierKey } = createCosigner("a.example/w", Buffer.alloc(32, 1), () => 0);
  const write = (value: unknown) => writeFile(path, JSON.stringify(value));
  await write({ witnesses: [{ url: "http://127.0.0.1:1", verifierKey }] });
  expect(await loadWitnesses(path)).toMatchObject({ quorum: 1, witnesses: [{ verifierKey }] });
  for (const bad of [
    {},
    { witnesses: [] },
    { witnesses: [{ url: "ftp://x", verifierKey }] },
    { witnesses: [{ url: "http://me:secret@x", verifierKey }] },
    { witnesses: [{ url: "http://x", verifierKey: signerOf("w1").verifierKey }] },
    { quorum: 2, witnesses: [{ url: "http://x", verifierKey }] },
  ]) {
    await write(bad);
    await expect(loadWitnesses(path)).rejects.toMatchObject({ code: "witness_unusable" });
  }
});
