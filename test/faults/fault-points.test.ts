import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TestContext } from "vitest";

import { faultPoints } from "../../src/faults/index.ts";
import type { FaultPoint } from "../../src/faults/index.ts";
import { judge, runCase, waveAfter } from "./harness/case.ts";
import type { CaseResult } from "./harness/case.ts";
import { closeReplayers } from "./harness/facts.ts";
import type { Facts } from "./harness/facts.ts";
import { startLab } from "./harness/lab.ts";
import type { Lab } from "./harness/lab.ts";
import { planted } from "./harness/planted.ts";
import { aroundPlans, parsePlan, planText, randomOf, shortPlans, shuffled } from "./harness/plan.ts";
import type { Plan } from "./harness/plan.ts";
import { complaintsOf } from "./harness/run-plans.ts";

/** A case takes a minute at most where the machine is free: processes that are killed are missed after ten seconds or so. */
const timeout = 900_000;

/**
 * What CI has for this set is five minutes: no case begins later than this after the first, in an order of the seed's, so that a slow
 * machine leaves out others each time. Those that begin together at first always run.
 */
const budgetMs = 150_000;
const atFirst = 4;
const seed = Number(process.env["FAULT_SEED"] ?? Math.floor(Math.random() * 1_000_000));

let lab: Lab;
let begun: number | undefined;
const results: CaseResult[] = [];
const leftOut: string[] = [];
let facts: Facts | undefined;
beforeAll(async () => {
  lab = await startLab();
}, timeout);
afterAll(async () => {
  const all = results.length + leftOut.length;
  const rest = leftOut.length === 0 ? "" : `; not begun within ${budgetMs / 1_000} s: ${leftOut.join(" ")}`;
  console.log(`faults: ${results.length} of ${all} cases of the short set were run, FAULT_SEED=${seed}${rest}`);
  await closeReplayers();
  await lab?.stop();
});

/** What is wrong after it: nothing, if all is well. */
async function bear(plan: Plan, { skip }: TestContext): Promise<readonly string[]> {
  begun ??= Date.now();
  if (results.length + leftOut.length >= atFirst && Date.now() - begun > budgetMs) {
    leftOut.push(planText(plan));
    skip(`not begun within ${budgetMs / 1_000} s`);
  }
  const result = await runCase(lab, { name: planText(plan), ...plan, onFacts: (found) => (facts ??= found) });
  results.push(result);
  return complaintsOf(result);
}

const named = (plans: readonly Plan[]) =>
  shuffled(plans, randomOf(seed)).map((plan) => ({ name: planText(plan), plan }));

describe.concurrent("every point once, with the kind that hurts most", () => {
  test.for(named(shortPlans()))("$name", { timeout }, async ({ plan }, context) =>
    expect(await bear(plan, context)).toEqual([]),
  );
});

test("every point has failed, but those of cases that were left out", () => {
  const struck = new Set<FaultPoint>(results.flatMap((result) => result.struck.map(({ point }) => point)));
  const waived = leftOut.flatMap((text) => parsePlan(text)?.faults ?? []).map(({ point }) => point);
  expect(faultPoints.filter((point) => !struck.has(point) && !waived.includes(point))).toEqual([]);
});

describe.concurrent("Postgres, Temporal, workers and servers that go away under load", () => {
  test.for(named(aroundPlans()))("$name", { timeout }, async ({ plan }, context) =>
    expect(await bear(plan, context)).toEqual([]),
  );
});

describe("each invariant is seen to be broken where it is", () => {
  test("what the planted ones are made of breaks none", () => {
    expect(Object.values(judge(facts as Facts, waveAfter)).flat()).toEqual([]);
  });
  test.each(planted.map(({ breaks, what, plant }) => [breaks, what, plant] as const))(
    "%s: %s",
    async (breaks, _, plant) => {
      expect(judge(await plant(facts as Facts), waveAfter)[breaks]).not.toEqual([]);
    },
  );
});
