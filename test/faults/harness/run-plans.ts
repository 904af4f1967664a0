import { runCase } from "./case.ts";
import type { CaseResult } from "./case.ts";
import type { Facts } from "./facts.ts";
import type { Lab } from "./lab.ts";
import { planText } from "./plan.ts";
import type { Plan } from "./plan.ts";

/** Runs plans, so many at once: most of a case is waiting for time-outs. */
export async function runPlans(
  lab: Lab,
  plans: Iterable<Plan>,
  options: {
    readonly atOnce: number;
    readonly onResult?: (result: CaseResult) => void;
    readonly onFacts?: (facts: Facts) => void;
  },
): Promise<readonly CaseResult[]> {
  const results: CaseResult[] = [];
  const waiting = plans[Symbol.iterator]();
  const next = async (): Promise<void> => {
    for (let { value, done } = waiting.next(); done !== true; { value, done } = waiting.next()) {
      const result = await runCase(lab, {
        name: planText(value),
        ...value,
        ...(options.onFacts === undefined ? {} : { onFacts: options.onFacts }),
      });
      results.push(result);
      options.onResult?.(result);
    }
  };
  await Promise.all(Array.from({ length: options.atOnce }, next));
  return results;
}

/** A line for each thing that is wrong, and one for each fault that did not happen: such a case shows nothing. */
export function complaintsOf({ name, problems, faults, struck }: CaseResult): readonly string[] {
  return [
    ...problems.map(({ invariant, problem }) => `${name}: ${invariant}: ${problem}`),
    ...faults.filter((fault) => !struck.includes(fault)).map(({ point }) => `${name}: \`${point}\` was not come to`),
  ];
}
