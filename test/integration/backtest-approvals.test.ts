import { expect, test } from "vitest";

import { backtest } from "../../src/audit/index.ts";
import { policySetOf } from "../../src/policy/index.ts";
import { createWorld } from "../support/world.ts";

const asking = (approvers: string, more = ""): string => `@id("all") permit (principal, action, resource);
  @id("held") @decision("require_approval") @approvers("${approvers}") ${more} @reason("ask")
  forbid (principal, action == Action::"tool/pay", resource);`;

test("a backtest counts an approval for the groups of who gave it only", async () => {
  const turns = [{ calls: [{ tool: "pay", arguments: { to: "ada", amount_cents: 100 } }] }, { text: "done" }];
  const world = await createWorld({ turns, policy: asking("1 of treasury and 1 of legal") });
  await world.work();
  const run = await world.start();
  const request = await world.request(run);
  await (await world.reviewer("tess", ["treasury"])).decide(request, "approve");
  await (await world.reviewer("lena", ["legal"])).decide(request, "approve");
  await world.wake(run, request);
  expect((await world.closed(run)).status).toBe("completed");

  const found = async (policy: string) => {
    const { document } = policySetOf([{ name: "candidate.cedar", text: policy }]);
    const options = { tx: world.pool, keys: world.keys, signal: new AbortController().signal };
    const report = await backtest(
      { team: "testers", candidate: document },
      { ...options, onProgress: () => undefined },
    );
    expect(report).toMatchObject({ lost: 0, byTheGate: 0 });
    return report.causes;
  };
  expect(await found(asking("1 of treasury and 1 of legal"))).toEqual([]);
  // Two people approved, one of each group: neither group has two.
  const gated = [{ kind: "newly_gated", policy: "held", count: 1 }];
  expect(await found(asking("2 of treasury and 1 of legal"))).toEqual(gated);
  expect(await found(asking("1 of treasury and 2 of legal"))).toEqual(gated);
});
