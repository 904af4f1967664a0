import { isIn } from "./roles.ts";
import {
  allOf,
  closedOrComplain,
  exported,
  finalWave,
  firstWave,
  judge,
  noted,
  opened,
  settled,
  wordsOf,
} from "./case.ts";
import type { CaseResult } from "./case.ts";
import { watchLogs } from "./facts.ts";
import type { Lab } from "./lab.ts";
import { planText } from "./plan.ts";
import type { Plan } from "./plan.ts";
import { expectedEffects, peopleAtWork, startRuns } from "./scenario.ts";
import type { Progress, StartedRun } from "./scenario.ts";
import type { World } from "./world.ts";

/** What is not closed by then holds up whatever would come after it in its world. */
const closedWithinMs = 120_000;

type Problem = CaseResult["problems"][number];
type Borne = Omit<CaseResult, "problems"> & { readonly problems: Problem[]; readonly wave: number };

/** Plans that one world has borne, those that it came to no more, and what is wrong with it that no single plan can be told to have done. */
export type Together = {
  readonly results: readonly CaseResult[];
  readonly left: readonly Plan[];
  readonly problems: readonly Problem[];
};

/**
 * One world bears plans one after another: its processes go on, and only what was killed is started anew. A world costs seconds of a core to open, to
 * export and to replay, a plan in it less than one. All invariants are checked over all of it at its end.
 */
export async function runTogether(lab: Lab, plans: readonly Plan[]): Promise<Together> {
  const world = await opened(lab, []);
  const progress: Progress = { runs: [], acknowledged: [] };
  const watched = watchLogs(world);
  const people = peopleAtWork(world, progress);
  const borne: Borne[] = [];
  const problems: Problem[] = [];
  const complain = (problem: string): void => void problems.push({ invariant: "case", problem });
  try {
    // Whatever only a beginning does is behind it.
    await calm(world, progress, 0, complain);
    for (const plan of plans) {
      if (borne.at(-1)?.problems.length || problems.length > 0) break;
      borne.push(await bear(world, progress, borne.length + 1, plan));
    }
    await world.arm([]);
    await calm(world, progress, borne.length + 1, complain);
    await people.stop();
    const facts = await allOf(lab, world, { progress, outages: [], watched, complain });
    for (const [invariant, found] of Object.entries(judge(facts, borne.length + 1)))
      for (const problem of found)
        blame(borne, problems, progress.runs, { invariant: invariant as Problem["invariant"], problem });
  } catch (error) {
    complain(wordsOf(error));
  } finally {
    await people.stop();
    await watched.stop();
    await world.close();
  }
  return { results: borne, left: plans.slice(borne.length), problems };
}

/** A few runs that nothing happens to. */
async function calm(world: World, progress: Progress, wave: number, complain: (problem: string) => void) {
  const runs = await startRuns(world, progress, wave, finalWave);
  await closedOrComplain(world, runs, closedWithinMs, complain);
  await settled(world, progress.runs, complain);
}

async function bear(world: World, progress: Progress, wave: number, plan: Plan): Promise<Borne> {
  const begun = Date.now();
  const problems: Problem[] = [];
  const complain = (problem: string): void => void problems.push({ invariant: "case", problem });
  const before = effectsIn(world);
  try {
    await world.arm(plan.faults);
    if (isOfExport(plan)) {
      const report = await exported(world, progress.runs.slice(0, 3), complain, `evidence-${wave}`);
      if (report?.verdict !== "verified") complain(`the exported bundle is ${report?.verdict ?? "not there"}`);
    } else {
      const runs = await startRuns(world, progress, wave, firstWave);
      await closedOrComplain(world, runs, closedWithinMs, complain);
      const least = Math.ceil(expectedEffects(runs) / 2);
      const done = effectsIn(world) - before;
      if (done < least) complain(`${done} effects, at least ${least} have to be done`);
    }
    await settled(world, progress.runs, complain);
  } catch (error) {
    complain(wordsOf(error));
  }
  const effects = effectsIn(world) - before;
  const { faults } = plan;
  return { name: planText(plan), faults, ...noted(world, faults), problems, effects, ms: Date.now() - begun, wave };
}

/** These come about when evidence is exported, and need no new runs. */
export function isOfExport({ faults }: Plan): boolean {
  return faults.length > 0 && faults.every(({ point }) => isIn(point, "export") || point === "contents.read");
}

function effectsIn(world: World): number {
  return world.calls.filter(({ effect }) => effect).length;
}

/** What is said of a run is the plan's that was borne while it ran. */
function blame(borne: readonly Borne[], common: Problem[], runs: readonly StartedRun[], problem: Problem): void {
  const [id] = /run_[0-9A-HJKMNP-TV-Z]{26}/.exec(problem.problem) ?? [];
  const wave = runs.find((run) => run.id === id)?.wave;
  (borne.find((one) => one.wave === wave)?.problems ?? common).push(problem);
}
