import { inject, expect, onTestFinished, test } from "vitest";

import { appendToOutbox, createSequencer, createSigner, latestCheckpoint } from "../../src/ledger/index.ts";
import { provisionRole } from "../../src/dev/index.ts";
import { canRewriteLedger, createPool, grantAppRole, migrate } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";

const log = "shop";

/** A log with entries, written by the app's own role. */
async function appAndOwner() {
  const owner = await freshDatabase();
  const database = new URL(owner.url).pathname.slice(1);
  const role = "countersign_app_test";
  const url = await provisionRole(inject("postgres").adminUrl, { database, role, password: "app" });
  await grantAppRole(owner.pool, role);
  const app = createPool({ url });
  onTestFinished(async () => {
    await app.end();
    await owner.close();
  });
  const at = "2026-01-02T03:04:05.678Z";
  await appendToOutbox(app, [{ log, kind: "freeze.set", dedupKey: "one", at, facts: {} }]);
  const signers = (name: string) => [createSigner(`test/ledger/${name}`, new Uint8Array(32).fill(7))];
  const originOf = (name: string) => `test/ledger/${name}`;
  await createSequencer({ pool: app, signers, originOf, onError: () => undefined }).flush(log);
  return { app, owner: owner.pool, role };
}

test("the role of servers and workers can add to the ledger, and rewrite none of it, by whatever statement", async () => {
  const { app, owner, role } = await appAndOwner();
  expect((await latestCheckpoint(app, log))?.size).toBe(1);
  const { rows } = await owner.query<{ name: string }>(
    "select tablename as name from pg_tables where schemaname = 'countersign' and tablename like 'ledger%'",
  );
  expect(rows.length).toBeGreaterThan(7);
  const statements = rows.flatMap(({ name }) => [
    `update ${name} set log = log`,
    ...(name === "ledger_outbox" ? [] : [`delete from ${name}`]),
    `truncate ${name}`,
    `alter table ${name} disable trigger user`,
    `alter table ${name} add column more text`,
    `drop table ${name}`,
  ]);
  for (const statement of [
    ...statements,
    "update ledger_outbox set event = event",
    "update ledger_run set log = log",
    "set session_replication_role = replica",
    "create table more (id text)",
    "create schema more",
    "drop trigger append_only on ledger_entry",
    "create or replace function refuse_change() returns trigger language plpgsql as $$ begin return new; end $$",
    "truncate run cascade",
    "delete from decision",
    "update schema_version set name = name",
    `alter role ${role} superuser`,
  ]) {
    const refused = (await app.query(statement).catch((error: unknown) => error)) as { code?: string };
    expect([statement, refused.code]).toEqual([statement, "42501"]);
  }
  // What a sequencer may move on goes forward alone: a trigger holds that, which this role cannot disable.
  await expect(app.query("update ledger_state set size = 0")).rejects.toMatchObject({ code: "23001" });
  expect(await canRewriteLedger(app)).toBe(false);
  expect(await canRewriteLedger(owner)).toBe(true);
});

test("it starts on a database that is up to date, and says what to do about one that is not; the owner is no such role", async () => {
  const { app, owner } = await appAndOwner();
  expect(await migrate(app)).toEqual({ applied: [] });
  await owner.query("delete from schema_version where version = (select max(version) from schema_version)");
  await expect(migrate(app)).rejects.toMatchObject({
    code: "migration_failed",
    hint: expect.stringContaining("--app-role"),
  });
  await expect(grantAppRole(owner, inject("postgres").role)).rejects.toMatchObject({ code: "app_role_unusable" });
  const superuser = new URL(inject("postgres").adminUrl).username;
  for (const [role, why] of [
    ["nobody_here", "no role"],
    ['no"body', "no role"],
    [superuser, "superuser"],
  ] as const)
    await expect(grantAppRole(owner, role)).rejects.toMatchObject({
      code: "app_role_unusable",
      message: expect.stringContaining(why),
    });
});
