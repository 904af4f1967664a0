import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import pg from "pg";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";

import { hashToken, putPrincipal } from "../../src/registry/index.ts";
import { createServer } from "../../src/server/index.ts";
import { runById } from "../../src/store/index.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

const pay = (to: string, slow_ms = 0) => ({ tool: "pay", arguments: { to, amount_cents: 100, slow_ms } });
const look = (thing: string) => ({ tool: "look", arguments: { thing } });

async function lines(world: World, word: string): Promise<readonly string[]> {
  const text = await readFile(world.effects, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line.startsWith(`${word} `));
}

/** Ends every connection to the database but its own, again and again, until `wanted` have been ended. */
async function severConnections(url: string, everyMs: number, wanted: number): Promise<void> {
  for (let severed = 0; severed < wanted;) {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => undefined);
    await client.connect();
    const { rowCount } = await client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    severed += rowCount ?? 0;
    await client.end();
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

test("runs outlive a database whose connections break all the time: each effect once, every intent with an end", async () => {
  const world = await createWorld({
    turns: [
      { calls: [look("box"), pay("ada")] },
      { calls: [pay("bob", 50), pay("eve", 50), look("lid")] },
      { calls: [pay("dan")] },
      { text: "done" },
    ],
  });
  await world.work();
  const runs = await Promise.all(Array.from({ length: 8 }, () => world.start()));
  await severConnections(world.databaseUrl, 120, 50);
  for (const run of runs) {
    const row = await until(async () => {
      const found = await runById(world.pool, run).catch(() => undefined);
      return found?.closedAt === null ? undefined : found;
    }, 60_000);
    expect(row).toMatchObject({ status: "completed", failure: null, heldMicroUsd: 0 });
  }
  const paid = await lines(world, "pay");
  expect(paid).toHaveLength(8 * 4);
  expect(new Set(paid).size).toBe(paid.length);
  const query = async (sql: string) => (await world.pool.query(sql)).rows as unknown[];
  expect(await query("select run, seq, state from effect where state <> 'result' or ended_at is null")).toEqual([]);
  expect(
    await query(
      "select id from run where spent_micro_usd <> (select sum(cost_micro_usd) from step where run = run.id) or held_micro_usd <> 0",
    ),
  ).toEqual([]);
  // Nothing has been sequenced, so the outbox has all there is to tell.
  expect(
    await query(
      `select event::jsonb ->> 'kind' as kind, count(*) as n, count(distinct dedup_key) as different
       from ledger_outbox group by 1 order by 1`,
    ),
  ).toEqual([
    { kind: "policy.activated", n: 1, different: 1 },
    { kind: "run.closed", n: 8, different: 8 },
    { kind: "run.started", n: 8, different: 8 },
    { kind: "step.decided", n: 80, different: 80 },
    { kind: "step.intent", n: 80, different: 80 },
    { kind: "step.result", n: 80, different: 80 },
  ]);
}, 120_000);

test("a run whose workflow was terminated can be cancelled, and holds nothing any more", async () => {
  const world = await createWorld({
    turns: [{ calls: [{ tool: "pay", arguments: { to: "ada", amount_cents: 6_000 } }] }],
  });
  await world.work();
  const run = await world.start();
  const request = await world.request(run);
  await world.client.workflow.getHandle(run).terminate("somebody who reaches Temporal");
  const server = createServer({
    pool: world.pool,
    databaseUrl: world.databaseUrl,
    keys: world.keys,
    temporal: world.client,
    taskQueue: world.taskQueue,
    ledger: { originOf: (log) => log, signerOf: () => ({ verifierKey: "", sign: () => new Uint8Array() }) },
    logger: pino({ level: "silent" }),
  });
  onTestFinished(() => server.stop());
  await putPrincipal(
    world.pool,
    { id: "op", displayName: "op", roles: ["operator"], groups: [] },
    hashToken("operator-token"),
  );
  const http = await server.http();
  const cancel = () =>
    http.inject({
      method: "POST",
      url: `/v1/runs/${run}/cancel`,
      headers: { host: "localhost", authorization: "Bearer operator-token" },
    });
  expect((await cancel()).statusCode).toBe(202);
  expect(await runById(world.pool, run)).toMatchObject({ status: "cancelled", heldMicroUsd: 0 });
  expect((await cancel()).json()).toMatchObject({ error: { code: "run_closed" } });
  const { rows } = await world.pool.query("select state from approval_request where id = $1", [request.id]);
  expect(rows).toEqual([{ state: "cancelled" }]);
});

test("an interrupted payment whose code is gone when it is taken up again is never called a failure without effect", async () => {
  const world = await createWorld({ turns: [{ calls: [pay("ada")] }, { text: "done" }] });
  const root = await mkdtemp(join(tmpdir(), "countersign-tools-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  // Its outcome cannot be written: as if the worker had died after the payment.
  await world.pool.query(
    `create function refuse_outcome() returns trigger language plpgsql as $$ begin raise exception 'gone'; end $$`,
  );
  await world.pool.query(
    "create trigger gone before update on step for each row when (old.name = 'pay') execute function refuse_outcome()",
  );
  const first = await world.work();
  const run = await world.start();
  await until(async () => ((await lines(world, "pay")).length > 0 ? true : undefined));
  await first.stop();
  await world.pool.query("drop trigger gone on step");
  // A new version of the tools was deployed while the worker was away.
  await writeFile(join(root, "tools.ts"), "export const nothing = 0;\n");
  await world.work({ toolRoots: [root] });
  expect(await world.unknown(run, 60_000)).toMatchObject({ name: "pay", state: "open" });
  expect(await world.states(run)).toContain("pay:unknown");
}, 90_000);
