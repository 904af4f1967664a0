import { expect, test } from "vitest";

import { decisionsOf } from "../../src/store/index.ts";
import { createWorld, until } from "../support/world.ts";

const policy = `
@id("all") permit(principal, action, resource);
@id("few") forbid(principal, action == Action::"tool/look", resource) when { context.history.looks >= 1 };`;

test("a decision that waits too long for others of its scope is tried again, and written once", async () => {
  const world = await createWorld({
    turns: [{ calls: [{ tool: "look", arguments: { thing: "box" } }] }, { text: "done" }],
  });
  await world.activate(policy, [{ name: "looks", measure: "count", actions: ["tool/look"], per: "team" } as never]);
  await world.work();
  const holder = await world.pool.connect();
  try {
    await holder.query("begin");
    await holder.query("select pg_advisory_xact_lock(hashtextextended('history/looks/team/testers', 0))");
    const run = await world.start();
    // 55P03, after ten seconds; a local activity goes on as an ordinary one or in the next task.
    const { rows } = await until(async () => {
      const found = await world.pool.query<{ waits: Date }>(
        `select query_start as waits from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`,
      );
      return found.rows.length > 0 ? found : undefined;
    });
    const first = rows[0]!.waits.getTime();
    await until(async () => {
      const again = await world.pool.query<{ waits: Date }>(
        `select query_start as waits from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`,
      );
      return again.rows.some(({ waits }) => waits.getTime() > first) ? true : undefined;
    }, 60_000);
    expect(await world.states(run)).toEqual(["scripted/test:done"]);
    await holder.query("rollback");
    expect((await world.closed(run)).status).toBe("completed");
    expect(await world.states(run)).toEqual(["scripted/test:done", "look:done", "scripted/test:done"]);
    const decisions = (await decisionsOf(world.pool, run)).filter(({ seq }) => seq === 1);
    expect(decisions.map(({ outcome, n }) => [outcome, n])).toEqual([["allow", 0]]);
    expect(decisions[0]?.facts.history).toEqual({ looks: 0 });
  } finally {
    await holder.query("rollback");
    holder.release();
  }
}, 120_000);
