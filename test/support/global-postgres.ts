import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { createShutdownStack, freePort, provisionDatabase, resolveHome, startPostgres } from "../../src/dev/index.ts";
import { createPool, migrate } from "../../src/store/index.ts";
import { shareServer } from "./shared-server.ts";

/** What tests need to make databases of their own. Holds the password of a server that lives as long as the run. */
export type TestPostgres = {
  readonly adminUrl: string;
  readonly template: string;
  readonly role: string;
  readonly password: string;
};

declare module "vitest" {
  interface ProvidedContext {
    postgres: TestPostgres;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { server, release } = await shareServer("postgres", start);
  project.provide("postgres", server.facts);
  return release;
}

async function start(): Promise<{ readonly facts: TestPostgres; stop(): Promise<void> }> {
  const home = resolveHome({ COUNTERSIGN_HOME: await mkdtemp(join(tmpdir(), "countersign-test-")) });
  // Started last, stopped first, and the directory goes even when the server never came up.
  const stack = createShutdownStack();
  stack.add("directory", () => rm(home.root, { recursive: true, force: true }), 10_000);
  const stop = async (): Promise<void> => void (await stack.run());
  try {
    const postgres = await startPostgres({ home, port: await freePort(), settings: fast });
    stack.add("postgres", () => postgres.stop(), 30_000);
    return { facts: await makeTemplate(postgres.adminUrl), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A power cut may take these data: they die with the run anyway. */
const fast = { fsync: "off", full_page_writes: "off", max_connections: "300", shared_buffers: "256MB" };

async function makeTemplate(adminUrl: string | undefined): Promise<TestPostgres> {
  if (adminUrl === undefined) throw new Error("the test Postgres is always an embedded one");
  const facts = { adminUrl, template: "countersign_template", role: "countersign_test", password: "countersign_test" };
  const { template: database, role, password } = facts;
  const pool = createPool({ url: await provisionDatabase(adminUrl, { database, role, password }), max: 1 });
  try {
    await migrate(pool);
  } finally {
    await pool.end();
  }
  return facts;
}
