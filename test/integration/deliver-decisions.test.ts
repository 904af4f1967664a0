import { expect, test } from "vitest";

import type { ApprovalId, RunId } from "../../src/core/ids.ts";
import type { RunEngine } from "../../src/server/run-engine.ts";
import { noEngine, noticeWorld } from "../support/notice-world.ts";
import { until } from "../support/world.ts";

test("fifty decisions that Temporal refuses for good, and one hundred, keep no later one from its run", async () => {
  const refused = new Set<string>();
  const tries = new Map<string, number>();
  const engine = {
    ...noEngine,
    wake: async (_run: RunId, request: ApprovalId) => {
      tries.set(request, (tries.get(request) ?? 0) + 1);
      if (refused.has(request)) throw new Error("refused");
    },
  } as RunEngine;
  const world = await noticeWorld({ engine, serve: false });
  for (let n = 0; n < 100; n += 1) refused.add(await world.ask());
  const later = await world.ask();
  for (const request of refused) await world.end(request as ApprovalId, "approved");
  await world.end(later, "denied");
  await world.server.start(0);
  await until(async () => {
    const { rows } = await world.pool.query("select from approval_request where id = $1 and signalled_at is not null", [
      later,
    ]);
    return rows.length === 1 ? true : undefined;
  });
  // Those that were refused get their turn again.
  await until(async () => ([...refused].every((request) => (tries.get(request) ?? 0) >= 2) ? true : undefined));
  expect(tries.get(later)).toBe(1);
});
