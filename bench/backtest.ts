import { monitorEventLoopDelay } from "node:perf_hooks";

import Table from "cli-table3";

import { backtest } from "../src/audit/index.ts";
import { met } from "./goals.ts";
import { callsPerRun, gateSide, policyCount, team } from "./gate.ts";
import { cedarOf, rulesOf } from "./policies/rules.ts";
import type { Rule } from "./policies/rules.ts";
import { startPostgresAlone } from "./servers.ts";
import { inParallel } from "./statistics.ts";

const defaultCount = 100_000;
const goalSeconds = 60;
const atOnce = 16;

/**
 * The time that a backtest of 100,000 recorded decisions takes, and how long others wait for its thread meanwhile. The decisions are
 * recorded first, by the worker's own gate, on a real Postgres. `count`: decisions to record, as text; the table is for the default.
 */
export async function benchBacktest(print: (line: string) => void, count: string | undefined): Promise<object> {
  const wanted = count === undefined ? defaultCount : Number(count);
  if (!Number.isSafeInteger(wanted) || wanted < 1) throw new Error("expected a number of decisions to record");
  const servers = await startPostgresAlone(print);
  try {
    const side = await gateSide(servers.url);
    try {
      await record(side, wanted, print);
      return await measure(side, print);
    } finally {
      await side.stop();
    }
  } finally {
    await servers.stop();
  }
}

type GateSide = Awaited<ReturnType<typeof gateSide>>;

/** A run has one model step, and its calls. */
async function record(side: GateSide, wanted: number, print: (line: string) => void): Promise<void> {
  const runs = Math.ceil(wanted / (callsPerRun + 1));
  let done = 0;
  let told = performance.now();
  const recordRun = async () => {
    const run = await side.prepareRun();
    for (let call = 0; call < callsPerRun; call += 1) await side.decideCall(run, call, "never ends");
    done += callsPerRun + 1;
    if (performance.now() - told < 10_000) return;
    told = performance.now();
    print(`recorded ${done} of ${runs * (callsPerRun + 1)} decisions`);
  };
  // Compiling takes the thread for a while: with nobody waiting.
  await recordRun();
  await inParallel(runs - 1, atOnce, recordRun);
}

async function measure({ pool, keys }: GateSide, print: (line: string) => void): Promise<object> {
  const candidate = { v: 1, policies: candidateRules().map(cedarOf) } as const;
  const pauses = monitorEventLoopDelay({ resolution: 1 });
  pauses.enable();
  const report = await backtest(
    { team, candidate },
    { tx: pool, keys, signal: new AbortController().signal, onProgress: () => undefined },
  );
  pauses.disable();
  if (report.lost > 0) throw new Error(`${report.lost} decisions could not be decided again`);
  const seconds = report.milliseconds / 1_000;
  const figures = {
    decisions: report.decisions,
    seconds: Math.round(seconds * 10) / 10,
    perSecond: Math.round(report.decisions / seconds),
    longestPauseMs: Math.round(pauses.max / 1_000_000),
  };
  const table = new Table({ head: [`${policyCount} policies`, "", "goal", "result"], style: { head: [], border: [] } });
  table.push(
    ["recorded decisions, decided again", figures.decisions, defaultCount, met(figures.decisions >= defaultCount)],
    [
      "seconds",
      figures.seconds,
      `below ${goalSeconds} for ${defaultCount}`,
      figures.decisions < defaultCount ? "" : met(seconds < goalSeconds),
    ],
    ["decisions a second", figures.perSecond, "", ""],
    ["longest pause of the thread, ms", figures.longestPauseMs, "", ""],
  );
  print(table.toString());
  const changes = Object.entries(report.counts).map(([kind, number]) => `${number} ${kind}`);
  print(
    `Once, on decisions that the worker's gate has recorded in runs of ${callsPerRun + 1} steps. Recording is left out. Arguments and facts are read from\n` +
      "Postgres, opened, and decided under a candidate of as many policies; compiling it is part of the time.\n" +
      `What would change: ${changes.join(", ")}.`,
  );
  return figures;
}

/** The rules in force but for two: one is gone, one is stricter. */
function candidateRules(): readonly Rule[] {
  return rulesOf(policyCount).flatMap((rule) => {
    if (rule.id === "base/rival") return [];
    if (rule.id !== "base/large") return [rule];
    return [{ ...rule, when: [{ path: "input.amount_cents", op: ">", value: 20_000 } as const] }];
  });
}
