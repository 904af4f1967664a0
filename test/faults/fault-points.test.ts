import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { faultPoints } from "../../src/faults/index.ts";
import type { FaultPoint } from "../../src/faults/index.ts";
import { judge, runCase } from "./harness/case.ts";
import type { CaseResult } from "./harness/case.ts";
import { closeReplayers } from "./harness/facts.ts";
import type { Facts } from "./harness/facts.ts";
import { startLab } from "./harness/lab.ts";
import type { Lab } from "./harness/lab.ts";
import { planted } from "./harness/planted.ts";
import { aroundPlans, planText, shortPlans } from "./harness/plan.ts";
import type { Plan } from "./harness/plan.ts";
import { complaintsOf } from "./harness/run-plans.ts";

/** A case takes a minute at most where the machine is free: processes that are killed are missed after ten seconds or so. */
const timeout = 900_000;

let lab: Lab;
const results: CaseResult[] = [];
let facts: Facts | undefined;
beforeAll(async () => {
  lab = await startLab();
}, timeout);
afterAll(async () => {
  await closeReplayers();
  await lab?.stop();
});

/** What is wrong after it: nothing, if all is well. */
async function bear(plan: Plan): Promise<readonly string[]> {
  const result = await runCase(lab, { name: planText(plan), ...plan, onFacts: (found) => (facts ??= found) });
  results.push(result);
  return complaintsOf(result);
}

const named = (plans: readonly Plan[]) => plans.map((plan) => [planText(plan), plan] as const);

describe.concurrent("every point once, with the kind that hurts most", () => {
  test.each(named(shortPlans()))("%s", async (_, plan) => expect(await bear(plan)).toEqual([]), timeout);
});

test("every point has failed, and nothing else was counted", () => {
  const struck = new Set<FaultPoint>(results.flatMap((result) => result.struck.map(({ point }) => point)));
  expect(faultPoints.filter((point) => !struck.has(point))).toEqual([]);
});

describe.concurrent("Postgres, Temporal, workers and servers that go away under load", () => {
  test.each(named(aroundPlans()))("%s", async (_, plan) => expect(await bear(plan)).toEqual([]), timeout);
});

describe("each invariant is seen to be broken where it is", () => {
  test("what the planted ones are made of breaks none", () => {
    expect(Object.values(judge(facts as Facts)).flat()).toEqual([]);
  });
  test.each(planted.map(({ breaks, what, plant }) => [breaks, what, plant] as const))(
    "%s: %s",
    async (breaks, _, plant) => {
      expect(judge(await plant(facts as Facts))[breaks]).not.toEqual([]);
    },
  );
});
