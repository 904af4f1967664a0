import type { FaultPoint } from "../../../src/faults/index.ts";
import type { CaseResult } from "./case.ts";
import { placeOf, planText } from "./plan.ts";
import type { Plan } from "./plan.ts";
import { summaryLines } from "./print.ts";
import { complaintsOf } from "./run-plans.ts";
import type { Batch, Reports } from "./run-plans.ts";

/** The least share of planned faults that has to happen: a run that shows nothing has not passed. */
const leastMet = 0.5;

type Failure = { readonly plans: readonly string[]; readonly complaints: readonly string[] };

/** Tells what came out, line by line, and keeps it. */
export class Progress implements Reports {
  readonly results: CaseResult[] = [];
  readonly failed: Failure[] = [];
  readonly #done = new Set<string>();
  readonly #begun = Date.now();
  readonly #planned: readonly Plan[];
  readonly #print: (line: string) => void;
  readonly #onFailure: (failure: Failure) => void;

  constructor(planned: readonly Plan[], print: (line: string) => void, onFailure: (failure: Failure) => void) {
    this.#planned = planned;
    this.#print = print;
    this.#onFailure = onFailure;
  }

  onResult(result: CaseResult, plan: Plan): void {
    this.results.push(result);
    this.#done.add(planText(plan));
    const word = result.problems.length > 0 ? "FAILED" : isMet(result) ? "ok" : "not met";
    const of = `${this.results.length} of ${this.#planned.length}`;
    this.#print(
      `${word.padEnd(7)}  ${of}, ${this.#left()}  ${(result.ms / 1_000).toFixed(1)} s  ${result.effects} effects  ${result.name}`,
    );
    if (result.problems.length > 0) this.#fail([result.name], complaintsOf(result));
  }

  onTogether(batch: Batch, problems: CaseResult["problems"]): void {
    this.#print(`FAILED   ${batch.length} plans together, none of which can be told to be the cause`);
    this.#fail(
      batch.map(planText),
      problems.map(({ invariant, problem }) => `${invariant}: ${problem}`),
    );
  }

  #fail(plans: readonly string[], complaints: readonly string[]): void {
    for (const line of complaints.slice(0, 10)) this.#print(`    ${line}`);
    this.#print(`    again: npm run faults -- ${plans.map((plan) => `--plan '${plan}'`).join(" ")}`);
    const failure = { plans, complaints };
    this.failed.push(failure);
    this.#onFailure(failure);
  }

  /** By how long the others took. */
  #left(): string {
    const left = this.#planned.length - this.results.length;
    const minutes = ((Date.now() - this.#begun) / this.results.length / 60_000) * left;
    return left <= 0 ? "random" : `${minutes < 1 ? "less than a minute" : `${Math.round(minutes)} min`} left`;
  }

  /** The last one before the first that was not tried, in the seed's order; undefined where all were, or none. */
  goOnFrom(seed: number): string | undefined {
    const order = this.#planned.toSorted((a, b) => (placeOf(a, seed) < placeOf(b, seed) ? -1 : 1));
    const first = order.findIndex((plan) => !this.#done.has(planText(plan)));
    const last = first > 0 ? order[first - 1] : undefined;
    return last === undefined ? undefined : planText(last);
  }

  missed(): readonly string[] {
    return this.results.filter((one) => one.problems.length === 0 && !isMet(one)).map(({ name }) => name);
  }

  /** A table, a line, and whether all is well. */
  summary(hits: ReadonlyMap<FaultPoint, number>, seed: number): boolean {
    const seconds = Math.round((Date.now() - this.#begun) / 1_000);
    const [all, missed] = [this.results.length, this.missed().length];
    for (const line of summaryLines(this.results, hits)) this.#print(line);
    this.#print(
      `${all} cases in ${seconds} s (${(seconds / Math.max(1, all)).toFixed(2)} s each): ${this.failed.length} failed, ${missed} whose fault was not met; ${this.#done.size} of ${this.#planned.length} planned; seed ${seed}`,
    );
    const shown = all > 0 && missed <= (1 - leastMet) * all;
    if (!shown) this.#print(`too little was shown: of ${all} cases, ${missed} did not come to their fault`);
    return shown && this.failed.length === 0;
  }
}

function isMet({ struck, faults }: CaseResult): boolean {
  return struck.length === faults.length;
}
