import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";

import { exitCodeOf, reportOf } from "../../src/cli/cli-error.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { peopleLog } from "../../src/core/ids.ts";
import type { LedgerEvent } from "../../src/core/ledger-event.ts";
import { appendToOutbox, createSequencer, createSigner, latestCheckpoint } from "../../src/ledger/index.ts";
import { hashToken, newToken, putPrincipal } from "../../src/registry/index.ts";
import { createServer } from "../../src/server/index.ts";
import type { RunEngine } from "../../src/server/run-engine.ts";
import { payloadKeysOf } from "../../src/store/index.ts";
import type { Pool } from "../../src/store/index.ts";
import { backUp, freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

const engine = { histories: async () => [], isReachable: async () => true } as unknown as RunEngine;
const originOf = (log: string): string => `localhost/ledger/${log}`;
const signerOf = (log: string, seed = 9) => createSigner(originOf(log), new Uint8Array(32).fill(seed));
const token = newToken();

async function grow(pool: Pool, from: number, what: string, seeds: readonly number[] = [9]): Promise<void> {
  for (const log of ["shop", peopleLog]) {
    const events = Array.from({ length: 3 }, (_, n): LedgerEvent => ({
      log,
      kind: "freeze.set",
      dedupKey: `e-${from + n}`,
      at: "2026-01-02T03:04:05.678Z",
      facts: { [what]: from + n },
    }));
    await appendToOutbox(pool, events);
  }
  const signers = (log: string) => seeds.map((seed) => signerOf(log, seed));
  await createSequencer({ pool, signers, originOf, onError: () => undefined }).flush();
}

async function serve({ pool, url }: TestDatabase, port: number) {
  const server = createServer(
    {
      pool,
      databaseUrl: url,
      keys: payloadKeysOf(new Uint8Array(32).fill(7)),
      temporal: undefined as never,
      taskQueue: "none",
      ledger: { originOf, signerOf },
      logger: pino({ level: "silent" }),
    },
    engine,
  );
  const started = await server.start(port);
  return { url: started.url, stop: () => server.stop() };
}

type Outcome = { readonly code: unknown; readonly said: string; readonly json: never };

/** The real commands, in this process, against a server whose database can be exchanged under it. */
async function auditor() {
  const home = await mkdtemp(join(tmpdir(), "countersign-known-"));
  onTestFinished(() => rm(home, { recursive: true, force: true }));
  const database = await freshDatabase();
  onTestFinished(() => database.close());
  const principal = { id: "ada", displayName: "Ada", roles: ["auditor"], groups: [] } as const;
  await putPrincipal(database.pool, principal, hashToken(token));
  let serving = await serve(database, 0);
  const { url } = serving;
  onTestFinished(() => serving.stop());
  vi.stubEnv("COUNTERSIGN_HOME", home);
  vi.stubEnv("COUNTERSIGN_URL", url);
  vi.stubEnv("COUNTERSIGN_TOKEN", token);
  onTestFinished(() => void vi.unstubAllEnvs());
  async function countersign(...args: readonly string[]): Promise<Outcome> {
    const written: string[] = [];
    const take = (text: unknown) => written.push(String(text)) > 0;
    const spies = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, "write").mockImplementation(take));
    process.exitCode = 0;
    try {
      await buildProgram().parseAsync(["node", "countersign", ...args, "--json"]);
      const json = JSON.parse(written.join("").slice(written.join("").indexOf("{"))) as never;
      return { code: process.exitCode, said: written.join(""), json };
    } catch (error) {
      return { code: exitCodeOf(error), said: JSON.stringify(reportOf(error)), json: {} as never };
    } finally {
      process.exitCode = 0;
      for (const spy of spies) spy.mockRestore();
    }
  }
  return {
    home,
    database,
    countersign,
    known: async () => JSON.parse(await readFile(join(home, "known-logs.json"), "utf8")) as Record<string, KnownLog>,
    exchange: async (other: TestDatabase) => {
      await serving.stop();
      serving = await serve(other, Number(new URL(url).port));
    },
  };
}
type KnownLog = { readonly verifierKey: string; readonly checkpoint?: string };

const sizes = (known: Record<string, KnownLog>) =>
  Object.fromEntries(
    Object.entries(known).map(([name, { checkpoint }]) => [name.split(" ")[1], Number(checkpoint?.split("\n")[1])]),
  );

test("nothing is remembered of a log that is not there", async () => {
  const { countersign, home } = await auditor();
  const asked = await countersign("ledger", "checkpoint", "--log", "nosuch");
  expect(asked.said).toContain("not_signed_yet");
  expect(await readdir(home)).toEqual([]);
});

test("of nothing, nothing was verified", async () => {
  const { countersign } = await auditor();
  for (const args of [
    ["audit", "verify"],
    ["audit", "replay", "--since", "1h"],
  ])
    expect(await countersign(...args)).toMatchObject({ code: 2, said: expect.stringContaining("usage") });
});

test("each visit starts where the last one ended: growth is fine, a rollback, a fork, and a log that is gone are not", async () => {
  const { home, database, countersign, known, exchange } = await auditor();
  await grow(database.pool, 0, "n");
  const first = await latestCheckpoint(database.pool, "shop");
  await writeFile(join(home, "kept"), first?.note ?? "");
  const backup = await backUp(database);
  expect(await countersign("audit", "verify")).toMatchObject({
    code: 0,
    json: {
      verdict: "verified",
      logs: [
        { log: peopleLog, entries: 3 },
        { log: "shop", entries: 3 },
      ],
    },
  });
  await grow(database.pool, 3, "n");
  expect(await countersign("audit", "verify")).toMatchObject({ code: 0, json: { verdict: "verified" } });
  expect(sizes(await known())).toEqual({ people: 6, shop: 6 });
  await grow(database.pool, 6, "n");
  expect(await countersign("ledger", "checkpoint", "--log", "shop")).toMatchObject({ code: 0, json: { size: 9 } });
  expect(await countersign("ledger", "proof", "0", "--log", peopleLog)).toMatchObject({ code: 0 });
  expect(sizes(await known())).toEqual({ people: 9, shop: 9 });
  const pinned = ["audit", "verify", "--pinned", join(home, "kept")];
  expect(await countersign(...pinned)).toMatchObject({ code: 0, json: { verdict: "verified" } });
  expect(await countersign(...pinned, "--log", peopleLog)).toMatchObject({ code: 2 });

  const restored = await backup.restore();
  onTestFinished(() => restored.close());
  await exchange(restored);
  const rolledBack = { code: 1, said: expect.stringContaining("rolled back") };
  expect(await countersign("audit", "verify")).toMatchObject(rolledBack);
  expect(await countersign("ledger", "checkpoint", "--log", "shop")).toMatchObject(rolledBack);
  expect(await countersign("ledger", "proof", "0", "--log", "shop")).toMatchObject(rolledBack);
  for (const from of [3, 6, 9]) await grow(restored.pool, from, "other");
  const rewritten = { code: 1, said: expect.stringContaining("rewritten") };
  expect(await countersign("audit", "verify")).toMatchObject(rewritten);
  expect(await countersign("ledger", "checkpoint", "--log", "shop")).toMatchObject(rewritten);
  // What refutes is not what is remembered.
  expect(sizes(await known())).toEqual({ people: 9, shop: 9 });
  const empty = await freshDatabase();
  onTestFinished(() => empty.close());
  await putPrincipal(empty.pool, { id: "ada", displayName: "Ada", roles: ["auditor"], groups: [] }, hashToken(token));
  await exchange(empty);
  expect(await countersign("audit", "verify")).toMatchObject({ code: 1, json: { verdict: "refuted" } });
});

test("another key goes on from where the old one was, or is another log", async () => {
  const { home, database, countersign, known, exchange } = await auditor();
  await grow(database.pool, 0, "n");
  const backup = await backUp(database);
  await grow(database.pool, 3, "n");
  await writeFile(join(home, "kept"), (await latestCheckpoint(database.pool, "shop"))?.note ?? "");
  expect(await countersign("audit", "verify")).toMatchObject({ code: 0 });
  const newKey = ["--log", "shop", "--verifier-key", signerOf("shop", 10).verifierKey];
  const restored = await backup.restore();
  onTestFinished(() => restored.close());
  for (const from of [3, 6]) await grow(restored.pool, from, "other", [10]);
  await exchange(restored);
  for (const command of [
    ["audit", "verify"],
    ["ledger", "checkpoint"],
  ])
    expect(await countersign(...command, ...newKey)).toMatchObject({
      code: 1,
      said: expect.stringContaining("rewritten"),
    });
  expect((await known())[Object.keys(await known()).find((name) => name.endsWith(" shop")) ?? ""]?.verifierKey).toBe(
    signerOf("shop").verifierKey,
  );
  // Who remembers nothing is told by what they kept.
  await rm(join(home, "known-logs.json"));
  const pinned = ["--pinned", join(home, "kept")];
  expect(await countersign("audit", "verify", ...newKey, ...pinned)).toMatchObject({ code: 1 });
  await rm(join(home, "known-logs.json"), { force: true });
  // The same log under a new key: both sign for a while, then the new one alone.
  await exchange(database);
  expect(await countersign("audit", "verify", "--log", "shop")).toMatchObject({ code: 0 });
  await grow(database.pool, 6, "n", [10, 9]);
  await grow(database.pool, 9, "n", [10]);
  expect(await countersign("audit", "verify", "--log", "shop")).toMatchObject({ code: 1 });
  expect(await countersign("audit", "verify", ...newKey)).toMatchObject({ code: 0, json: { verdict: "verified" } });
  expect(await countersign("ledger", "checkpoint", "--log", "shop")).toMatchObject({ code: 0 });
});
