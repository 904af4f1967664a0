/**
 * `npm run faults -- [--seed N] [--minutes M] [--point NAME] [--kind KIND] [--plan TEXT] [--at-once N] [--json FILE]`: every fault point, hit and kind, each
 * in a world of its own, then random combinations until the time is up. See docs/faults.md.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

import { Command, InvalidArgumentError } from "commander";

import { faultKinds, faultPoints } from "../../../src/faults/index.ts";
import type { FaultPoint } from "../../../src/faults/index.ts";
import type { CaseResult } from "./case.ts";
import { closeReplayers } from "./facts.ts";
import { startLab } from "./lab.ts";
import { everyPlan, parsePlan, randomOf, randomPlan, shuffled } from "./plan.ts";
import type { Plan } from "./plan.ts";
import { summaryLines } from "./print.ts";
import { complaintsOf, runPlans } from "./run-plans.ts";

const failedFile = fileURLToPath(new URL("../failed-plans.txt", import.meta.url));

type Flags = {
  readonly seed: number;
  readonly minutes?: number;
  readonly point?: string;
  readonly kind?: string;
  readonly plan?: readonly Plan[];
  readonly atOnce: number;
  readonly json?: string;
};

function whole(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a whole number");
}

function oneOf(names: readonly string[]): (text: string) => string {
  return (text) => {
    if (names.includes(text)) return text;
    throw new InvalidArgumentError(`expected one of ${names.join(", ")}`);
  };
}

function plan(text: string, before: readonly Plan[] = []): readonly Plan[] {
  const parsed = parsePlan(text);
  if (parsed === undefined)
    throw new InvalidArgumentError("expected POINT:HIT:KIND,…+DISTURBANCE@MS, as a failed case was printed");
  return [...before, parsed];
}

/** Plans that failed once, and are tried before all others for ever: a line each, with what is after `#` for people. */
function failedBefore(): readonly Plan[] {
  const lines = existsSync(failedFile) ? readFileSync(failedFile, "utf8").split("\n") : [];
  return lines
    .map((line) => line.split("#")[0]?.trim() ?? "")
    .filter((line) => line !== "")
    .flatMap((line) => parsePlan(line) ?? []);
}

/** What to try: what was asked for; else all there is, and then, where there is a time, random plans until it is up. */
function* plansOf(
  flags: Flags,
  hits: CaseResult["hits"],
  counts: { all: number; tried: number; random: number },
  end: number,
): Generator<Plan> {
  if (flags.plan !== undefined) {
    counts.all = flags.plan.length;
    for (const one of flags.plan) {
      counts.tried += 1;
      yield one;
    }
    return;
  }
  const random = randomOf(flags.seed);
  const every = [...failedBefore(), ...shuffled(everyPlan(hits, flags), random)];
  counts.all = every.length;
  for (const one of every) {
    if (Date.now() > end) return;
    counts.tried += 1;
    yield one;
  }
  while (flags.minutes !== undefined && Date.now() < end) {
    counts.random += 1;
    yield randomPlan(random, hits, flags);
  }
}

async function main(flags: Flags): Promise<number> {
  const begun = Date.now();
  const end = flags.minutes === undefined ? Infinity : begun + flags.minutes * 60_000;
  console.log(
    `seed ${flags.seed}, ${flags.atOnce} worlds at once${flags.minutes === undefined ? "" : `, ${flags.minutes} minutes`}`,
  );
  const lab = await startLab((line) => console.log(line));
  const counts = { all: 0, tried: 0, random: 0 };
  const failed: { readonly plan: string; readonly complaints: readonly string[] }[] = [];
  const missed: string[] = [];
  const onResult = (result: CaseResult): void => {
    const wrong = result.problems.length > 0;
    const notMet = result.struck.length < result.faults.length;
    console.log(
      `${wrong ? "FAILED" : notMet ? "not met" : "ok"}  ${counts.tried + counts.random} of ${counts.all}${counts.random > 0 ? "+" : ""}  ${(result.ms / 1_000).toFixed(0)} s  ${result.effects} effects  ${result.name}`,
    );
    if (notMet && !wrong) missed.push(result.name);
    if (!wrong) return;
    const complaints = complaintsOf(result);
    for (const line of complaints.slice(0, 10)) console.log(`    ${line}`);
    console.log(`    again: npm run faults -- --plan '${result.name}'`);
    failed.push({ plan: result.name, complaints });
    if (flags.plan === undefined)
      appendFileSync(
        failedFile,
        `${result.name}  # seed ${flags.seed}: ${complaints[0]?.slice(result.name.length + 2, 300)}\n`,
      );
  };
  try {
    const [base] = await runPlans(lab, [{ faults: [], disturbances: [] }], { atOnce: 1, onResult });
    const hits: ReadonlyMap<FaultPoint, number> = base?.hits ?? new Map();
    const results =
      base === undefined || base.problems.length > 0
        ? []
        : await runPlans(lab, plansOf(flags, hits, counts, end), { atOnce: flags.atOnce, onResult });
    for (const line of summaryLines(results, hits)) console.log(line);
    const seconds = Math.round((Date.now() - begun) / 1_000);
    console.log(
      `${results.length} cases in ${seconds} s: ${failed.length} failed, ${missed.length} whose fault was not met; ${counts.tried} of ${counts.all} planned, ${counts.random} random; seed ${flags.seed}`,
    );
    if (flags.json !== undefined) {
      const cases = results.map(({ name, ms, effects, problems, struck, faults }) => ({
        plan: name,
        ms,
        effects,
        problems,
        met: struck.length === faults.length,
      }));
      writeFileSync(
        flags.json,
        `${JSON.stringify({ seed: flags.seed, seconds, ...counts, failed, missed, cases }, undefined, 2)}\n`,
      );
    }
    return failed.length === 0 ? 0 : 1;
  } finally {
    await closeReplayers();
    await lab.stop();
  }
}

// An exit that can be noticed, so that no server is left behind.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

const program = new Command("faults")
  .description("makes every part of Countersign fail at every point, and checks what has to hold")
  .option("--seed <n>", "the order and the random plans follow from it", whole, Math.floor(Math.random() * 1_000_000))
  .option("--minutes <m>", "stop after so long; with time left, random plans are tried", whole)
  .option("--point <name>", "this point only", oneOf(faultPoints))
  .option("--kind <kind>", "this kind only", oneOf(faultKinds))
  .option("--plan <text>", "this plan only, as a failed case was printed; may be repeated", plan)
  .option("--at-once <n>", "worlds at once", whole, 2 * availableParallelism())
  .option("--json <file>", "write what came out as JSON");
process.exitCode = await main(program.parse().opts<Flags>());
