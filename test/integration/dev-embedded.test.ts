import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Client, Connection } from "@temporalio/client";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  embeddedDatabase,
  freePort,
  lockHome,
  provisionDatabase,
  resolveHome,
  startPostgres,
  startTemporal,
} from "../../src/dev/index.ts";
import type { Home } from "../../src/dev/index.ts";
import { readPid } from "../../src/dev/child.ts";
import { isAlive } from "../../src/dev/process-table.ts";

// Below a directory that is closed to others, as a checkout in root's home is: Postgres runs as another user there.
let directory: string;
let home: Home;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "countersign-test-"));
  home = resolveHome({ COUNTERSIGN_HOME: join(directory, "home") });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test("postgres keeps its data over a restart, and its application role is no superuser", async () => {
  const port = await freePort();
  const first = await startPostgres({ home, port });
  await query(first.url, "create table kept (n integer)");
  await query(first.url, "insert into kept values (42)");
  expect(embeddedDatabase(home)).toBe(first.url);
  await first.stop();
  expect(embeddedDatabase(home)).toBeUndefined();
  expect(readPid(join(home.run, "postgres.pid"))).toBeUndefined();

  const second = await startPostgres({ home, port });
  expect(second.url).toBe(first.url);
  expect(await query(second.url, "select n from kept")).toEqual([{ n: 42 }]);
  expect(await query(second.url, "show synchronous_commit")).toEqual([{ synchronous_commit: "on" }]);
  expect(await query(second.url, "select rolsuper from pg_roles where rolname = current_user")).toEqual([
    { rolsuper: false },
  ]);

  const admin = second.adminUrl ?? "";
  const shop = { database: "shop", role: "shop", password: "secret", schema: "shop" };
  const shopUrl = await provisionDatabase(admin, shop);
  expect(await provisionDatabase(admin, shop)).toBe(shopUrl);
  await query(shopUrl, "create table shop.customer_order (id integer)");
  const elsewhere = new URL(shopUrl);
  elsewhere.pathname = "/countersign";
  await expect(query(elsewhere.href, "select 1")).rejects.toThrow(/permission denied for database/);
  await second.stop();
});

test("a DATABASE_URL that does not answer is refused, naming the place and not the password", async () => {
  const port = await freePort();
  const failure = startPostgres({ home, port: 1, databaseUrl: `postgres://me:pa55word@127.0.0.1:${port}/mine` });
  await expect(failure).rejects.toMatchObject({
    code: "postgres_unreachable",
    message: expect.stringMatching(new RegExp(`127\\.0\\.0\\.1:${port}/mine.*ECONNREFUSED`)),
  });
  await expect(failure).rejects.not.toThrow("pa55word");
});

test("a temporal whose process is lost reports it, and a restart still knows the open workflow", async () => {
  const port = await freePort();
  const lost: unknown[] = [];
  const options = { home, port, env: process.env, onExit: (exit: unknown) => lost.push(exit) };
  await startTemporal(options);
  await withClient(port, (client) => client.workflow.start("waiting", { taskQueue: "nobody", workflowId: "kept" }));
  process.kill(readPid(join(home.run, "temporal.pid")) ?? 0, "SIGKILL");
  await expect.poll(() => lost).toEqual([{ code: null, signal: "SIGKILL" }]);

  const second = await startTemporal(options);
  const { status } = await withClient(port, (client) => client.workflow.getHandle("kept").describe());
  expect(status.name).toBe("RUNNING");
  await second.stop();
  expect(lost).toHaveLength(1);
});

test("after a SIGKILL of the whole process, the next start ends what it left behind and goes on with its data", async () => {
  const ports = [await freePort(), await freePort()] as const;
  const program = fileURLToPath(new URL("../support/start-home.ts", import.meta.url));
  const parent = spawn(process.execPath, [program, home.root, ...ports.map(String)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(parent.stdout), "line")) as [string];
  const { url } = JSON.parse(line) as { url: string };
  expect(() => lockHome(home)).toThrow(expect.objectContaining({ code: "home_locked" }));
  await query(url, "create table kept (n integer)");
  const left = [readPid(join(home.run, "temporal.pid")), readPid(join(home.postgres, "postmaster.pid"))];
  parent.kill("SIGKILL");
  await once(parent, "exit");
  expect(left.map((pid) => isAlive(pid ?? 0))).toEqual([true, true]);

  const release = lockHome(home);
  const postgres = await startPostgres({ home, port: ports[0] });
  const temporal = await startTemporal({ home, port: ports[1], env: process.env });
  expect(left.map((pid) => isAlive(pid ?? 0))).toEqual([false, false]);
  expect(await query(postgres.url, "select * from kept")).toEqual([]);
  expect(readFileSync(join(home.logs, "postgres.log"), "utf8")).toContain("fast shutdown");
  await Promise.all([postgres.stop(), temporal.stop()]);
  release();
});

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function withClient<Result>(port: number, work: (client: Client) => Promise<Result>): Promise<Result> {
  const connection = await Connection.connect({ address: `127.0.0.1:${port}` });
  try {
    return await work(new Client({ connection }));
  } finally {
    await connection.close();
  }
}
