import { runCase } from "./case.ts";
import type { CaseResult } from "./case.ts";
import type { Lab } from "./lab.ts";
import { planText } from "./plan.ts";
import type { Plan } from "./plan.ts";
import { runTogether } from "./warm.ts";

/** Plans that are borne together: one in a world of its own, or so many warm ones. */
export type Batch = readonly Plan[];

/** A world is opened and closed for so many: more spread its cost, fewer show sooner what came out. */
export const batchSize = 20;

/** In their order, the warm ones together, so many to a world. */
export function* batchesOf(plans: Iterable<Plan>, perWorld = batchSize): Generator<Batch> {
  let warm: Plan[] = [];
  for (const plan of plans) {
    if (plan.warm !== true) {
      yield [plan];
      continue;
    }
    warm.push(plan);
    if (warm.length < perWorld) continue;
    yield warm;
    warm = [];
  }
  if (warm.length > 0) yield warm;
}

export type Reports = {
  onResult(result: CaseResult, plan: Plan): void;
  /** What is wrong with a world that bore several, and of which none of them can be told to be the cause. */
  onTogether(batch: Batch, problems: CaseResult["problems"]): void;
};

/** Runs batches, so many at once: most of a case is waiting. */
export async function runBatches(lab: Lab, batches: Iterable<Batch>, atOnce: number, reports: Reports): Promise<void> {
  const waiting = batches[Symbol.iterator]();
  const next = async (): Promise<void> => {
    for (let { value, done } = waiting.next(); done !== true; { value, done } = waiting.next())
      await runBatch(lab, value, reports);
  };
  await Promise.all(Array.from({ length: atOnce }, next));
}

async function runBatch(lab: Lab, batch: Batch, reports: Reports): Promise<void> {
  const [first] = batch;
  if (first === undefined) return;
  if (first.warm !== true) return reports.onResult(await runCase(lab, { name: planText(first), ...first }), first);
  const { results, left, problems } = await runTogether(lab, batch);
  const borne = batch.slice(0, results.length);
  results.forEach((result, place) => reports.onResult(result, borne[place] as Plan));
  // A world that not even began bears nothing the next time either.
  const rest = results.length === 0 ? [] : left;
  if (problems.length > 0) reports.onTogether(results.length === 0 ? batch : borne, problems);
  await runBatch(lab, rest, reports);
}

/** A line for each thing that is wrong, and one for each fault that did not happen: such a case shows nothing. */
export function complaintsOf({ name, problems, faults, struck }: CaseResult): readonly string[] {
  return [
    ...problems.map(({ invariant, problem }) => `${name}: ${invariant}: ${problem}`),
    ...faults.filter((fault) => !struck.includes(fault)).map(({ point }) => `${name}: \`${point}\` was not come to`),
  ];
}
