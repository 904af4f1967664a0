/**
 * `npm run faults -- [--seed N] [--minutes M] [--point NAME] [--kind KIND] [--plan TEXT] [--from PLAN] [--at-once N] [--json FILE]`: every fault point, hit and
 * kind, and then random combinations until the time is up. See docs/faults.md.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

import { Command, InvalidArgumentError } from "commander";

import { faultKinds, faultPoints } from "../../../src/faults/index.ts";
import { closeReplayers } from "./facts.ts";
import { startLab } from "./lab.ts";
import type { Lab } from "./lab.ts";
import { everyPlan, parsePlan, placeOf, planText, randomOf, randomPlan } from "./plan.ts";
import type { Plan } from "./plan.ts";
import { Progress } from "./progress.ts";
import { batchesOf, batchSize, runBatches } from "./run-plans.ts";

const failedFile = fileURLToPath(new URL("../failed-plans.txt", import.meta.url));

type Flags = {
  readonly seed: number;
  readonly minutes?: number;
  readonly point?: string;
  readonly kind?: string;
  readonly plan?: readonly Plan[];
  readonly from?: Plan;
  readonly atOnce: number;
  readonly perWorld: number;
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

function one(text: string): Plan {
  const parsed = parsePlan(text);
  if (parsed === undefined)
    throw new InvalidArgumentError("expected POINT:HIT:KIND,…+DISTURBANCE@MS+warm, as a failed case was printed");
  return parsed;
}

const several = (text: string, before: readonly Plan[] = []): readonly Plan[] => [...before, one(text)];

/** Plans that failed once, and are tried before all others for ever: a line each, with what is after `#` for people. */
function failedBefore(): readonly Plan[] {
  const lines = existsSync(failedFile) ? readFileSync(failedFile, "utf8").split("\n") : [];
  return lines
    .map((line) => line.split("#")[0]?.trim() ?? "")
    .filter((line) => line !== "")
    .flatMap((line) => parsePlan(line) ?? []);
}

type Hits = Parameters<typeof everyPlan>[0];

/** What a world without faults comes to: one of its own, and one whose processes have been at work. Undefined where not even these go well. */
async function countHits(lab: Lab): Promise<Hits | undefined> {
  const found = new Map<string, Hits["warm"]>();
  const problems: string[] = [];
  const plans = [plainPlan, { ...plainPlan, warm: true as const }, exportPlan];
  await runBatches(lab, batchesOf(plans), plans.length, {
    onResult({ name, hits, problems: wrong }) {
      found.set(name, hits);
      problems.push(...wrong.map(({ problem }) => problem));
    },
    onTogether: (_, wrong) => problems.push(...wrong.map(({ problem }) => problem)),
  });
  for (const line of problems) console.log(`FAILED without any fault: ${line}`);
  const [fresh, warm, ofExport] = plans.map((one) => found.get(planText(one)));
  if (problems.length > 0 || fresh === undefined || warm === undefined || ofExport === undefined) return undefined;
  return { fresh, warm: new Map([...ofExport, ...warm]) };
}

const plainPlan: Plan = { faults: [], disturbances: [] };
/** An export, and a fault that it never comes to. */
const exportPlan: Plan = { ...plainPlan, faults: [{ point: "export.rename", hit: 999_999, kind: "hang" }], warm: true };

/** What to try, in the seed's order: what was asked for; else what failed once, and all there is. */
function planned(flags: Flags, hits: Hits): readonly Plan[] {
  if (flags.plan !== undefined) return flags.plan;
  const { seed, from } = flags;
  const every = everyPlan(hits, flags)
    .map((plan) => ({ plan, place: placeOf(plan, seed) }))
    .toSorted((a, b) => (a.place < b.place ? -1 : 1))
    .filter(({ place }) => from === undefined || place > placeOf(from, seed))
    .map(({ plan }) => plan);
  return [...(from === undefined ? failedBefore() : []), ...every];
}

function* whileTime(plans: Iterable<Plan>, end: number): Generator<Plan> {
  for (const plan of plans) {
    if (Date.now() > end || interrupted) return;
    yield plan;
  }
}

/** Combinations, one after another for ever. */
function* randomPlans(flags: Flags, hits: Hits): Generator<Plan> {
  for (const random = randomOf(flags.seed); ;) yield randomPlan(random, hits.fresh, flags);
}

async function main(flags: Flags): Promise<number> {
  const print = (line: string): void => console.log(line);
  const { seed, minutes } = flags;
  const end = minutes === undefined ? Infinity : Date.now() + minutes * 60_000;
  print(`seed ${seed}, ${flags.atOnce} worlds at once${minutes === undefined ? "" : `, ${minutes} minutes`}`);
  const lab = await startLab(print);
  try {
    // Plans that are given need no counting of what there is.
    const hits = flags.plan === undefined ? await countHits(lab) : { fresh: new Map(), warm: new Map() };
    if (hits === undefined) return 1;
    const plans = planned(flags, hits);
    const progress = new Progress(plans, print, ({ plans: wrong, complaints: [first = ""] }) => {
      // Several together are no line of it: which one of them it is has to be found out.
      if (flags.plan === undefined && wrong.length === 1)
        appendFileSync(failedFile, `${wrong[0]}  # seed ${seed}: ${first.slice(0, 300)}\n`);
    });
    print(
      `${plans.length} plans: ${plans.filter(({ warm }) => warm === true).length} warm, the others in worlds of their own`,
    );
    await runBatches(lab, batchesOf(whileTime(plans, end), flags.perWorld), flags.atOnce, progress);
    if (minutes !== undefined && flags.plan === undefined && progress.goOnFrom(seed) === undefined)
      await runBatches(
        lab,
        batchesOf(whileTime(randomPlans(flags, hits), end), flags.perWorld),
        flags.atOnce,
        progress,
      );
    const well = progress.summary(hits.warm, seed);
    const from = flags.plan === undefined ? progress.goOnFrom(seed) : undefined;
    if (from !== undefined) print(`go on: npm run faults -- --seed ${seed} --from '${from}'`);
    if (flags.json !== undefined) writeJson(flags.json, flags, progress);
    return well ? 0 : 1;
  } finally {
    await closeReplayers();
    await lab.stop();
  }
}

function writeJson(file: string, { seed }: Flags, progress: Progress): void {
  const { results, failed } = progress;
  const cases = results.map(({ name, ms, effects, problems, struck, faults }) => ({
    plan: name,
    ms,
    effects,
    problems,
    met: struck.length === faults.length,
  }));
  writeFileSync(file, `${JSON.stringify({ seed, failed, missed: progress.missed(), cases }, undefined, 2)}\n`);
}

let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    // An exit that can be noticed, so that no server is left behind.
    if (interrupted) process.exit(130);
    interrupted = true;
    console.log("stopping when what is under way is done, with a summary; again: at once");
  });

const program = new Command("faults")
  .description("makes every part of Countersign fail at every point, and checks what has to hold")
  .option("--seed <n>", "the order and the random plans follow from it", whole, Math.floor(Math.random() * 1_000_000))
  .option("--minutes <m>", "stop after so long; with time left, random plans are tried", whole)
  .option("--point <name>", "this point only", oneOf(faultPoints))
  .option("--kind <kind>", "this kind only", oneOf(faultKinds))
  .option(
    "--plan <text>",
    "this plan only, as a failed case was printed; may be repeated: warm ones go together",
    several,
  )
  .option("--from <plan>", "go on after this plan in the seed's order, as a run that was stopped said", one)
  .option("--at-once <n>", "worlds at once", whole, 4 * availableParallelism())
  .option(
    "--per-world <n>",
    "how many warm plans a world bears; with 1, all invariants are checked after each",
    whole,
    batchSize,
  )
  .option("--json <file>", "write what came out as JSON");
process.exitCode = await main(program.parse().opts<Flags>());
