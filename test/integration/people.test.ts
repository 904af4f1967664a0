import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hashToken, principalByToken } from "../../src/registry/index.ts";
import { freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
let database: TestDatabase;
let folder: string;

beforeAll(async () => {
  database = await freshDatabase();
  folder = await mkdtemp(join(tmpdir(), "countersign-people-"));
});

afterAll(async () => {
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

function add(...args: readonly string[]) {
  return people<{ readonly token: string }>("add", ...args);
}

function people<Answer>(...args: readonly string[]): { readonly status: number | null; readonly answer: Answer } {
  const { status, stdout } = spawnSync(process.execPath, [main, "people", ...args, "--json"], {
    cwd: folder,
    env: { ...process.env, DATABASE_URL: database.url },
    encoding: "utf8",
  });
  return { status, answer: JSON.parse(stdout) as Answer };
}

test("a person is added with a token and a key, and a new token ends the old one", async () => {
  const key = join(folder, "grace.pem");
  const first = add("grace@example.com", "--role", "reviewer", "--group", "treasury", "--key", key);
  expect(first.status).toBe(0);
  expect(await principalByToken(database.pool, hashToken(first.answer.token))).toMatchObject({
    id: "grace@example.com",
    roles: ["reviewer"],
    groups: ["treasury"],
  });
  const second = add("grace@example.com", "--role", "reviewer", "--role", "auditor", "--key", key);
  expect(await principalByToken(database.pool, hashToken(first.answer.token))).toBeUndefined();
  expect(await principalByToken(database.pool, hashToken(second.answer.token))).toMatchObject({
    roles: ["reviewer", "auditor"],
    groups: [],
  });
  // The key is enrolled once, and that is in the ledger.
  const { rows } = await database.pool.query<{ event: string }>("select event from ledger_outbox where log = 'people'");
  expect(rows).toHaveLength(1);
  expect(rows[0]?.event).toContain("approver.key.added");
});

test("a key that is somebody else's is refused, and the person is not half added", async () => {
  const refused = add("mallory", "--role", "reviewer", "--key", join(folder, "grace.pem"));
  expect(refused.status).toBe(2);
  expect(refused.answer).toMatchObject({ error: { code: "key_taken" } });
  const { rows } = await database.pool.query("select id from principal where id = 'mallory'");
  expect(rows).toEqual([]);
});

test("a role is given for all teams or for some, never both, and what is no team is refused", async () => {
  const limited = add("otto", "--role", "auditor", "--role", "operator:shop,bank", "--role", "operator:shop");
  expect(limited.answer).toMatchObject({ roles: ["auditor", "operator"], roleTeams: { operator: ["shop", "bank"] } });
  expect(await principalByToken(database.pool, hashToken(limited.answer.token))).toMatchObject({
    roleTeams: { operator: ["shop", "bank"] },
  });
  expect(add("otto", "--role", "operator").answer).toMatchObject({ roleTeams: {} });
  for (const roles of [
    ["reviewer:"],
    ["reviewer:Shop"],
    ["reviewer:a,,b"],
    ["cook:shop"],
    ["admin", "admin:shop"],
    ["admin:shop", "admin"],
  ])
    expect([roles, add("otto", ...roles.flatMap((role) => ["--role", role])).status]).toEqual([roles, 2]);
});

test("who is removed can call nothing any more, and is listed without roles", async () => {
  const { answer } = add("leaver", "--role", "reviewer", "--group", "treasury", "--key", join(folder, "leaver.pem"));
  const removed = people<{ readonly keys: readonly string[] }>("remove", "leaver");
  expect(removed).toMatchObject({ status: 0, answer: { id: "leaver", removed: true } });
  expect(removed.answer.keys).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
  expect(await principalByToken(database.pool, hashToken(answer.token))).toBeUndefined();
  expect(people("list").answer).toMatchObject({
    people: [
      { id: "grace@example.com", roles: ["reviewer", "auditor"] },
      { id: "leaver", roles: [], groups: [] },
      { id: "otto", roles: ["operator"], roleTeams: {} },
    ],
  });
  expect(people("remove", "lever")).toMatchObject({ status: 1, answer: { error: { code: "person_not_found" } } });
});
