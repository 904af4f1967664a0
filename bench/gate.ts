import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";

import type { Context } from "@temporalio/activity";
import Table from "cli-table3";
import { pino } from "pino";
import { ulid } from "ulid";

import type { Digest, RunId } from "../src/core/ids.ts";
import type { Json } from "../src/core/json.ts";
import type { Release } from "../src/core/release.ts";
import { createGate, createRunCache, openRun } from "../src/gate/index.ts";
import type { EffectOutcome } from "../src/gate/index.ts";
import { createSequencer, createSigner } from "../src/ledger/index.ts";
import { activatePolicySet, registerRelease, releaseOfDocument } from "../src/registry/index.ts";
import {
  createPool,
  createRun,
  dataKeyOf,
  migrate,
  newRunKey,
  payloadKeysOf,
  putPayloads,
} from "../src/store/index.ts";
import type { PayloadKeys, Pool } from "../src/store/index.ts";
import { met } from "./goals.ts";
import { cedarOf, rulesOf, tools } from "./policies/rules.ts";
import { startPostgresAlone } from "./servers.ts";
import { inParallel, median } from "./statistics.ts";

export const policyCount = 1_000;
const rounds = 5;
const atOnce = 16;
const runsPerRound = 64;
export const callsPerRun = 40;
export const team = "support";
const runsAlone = 4;

/**
 * The time of one decision with its durable record, and how many there are a second: real tool steps through the worker's own gate
 * on a real Postgres, with 1,000 policies. There is no Temporal: the activity's context is made up, the tool returns at once or never.
 */
export async function benchGate(print: (line: string) => void): Promise<object> {
  const servers = await startPostgresAlone(print);
  try {
    const side = await gateSide(servers.url);
    try {
      return await measure(side, print);
    } finally {
      await side.stop();
    }
  } finally {
    await servers.stop();
  }
}

type GateSide = Awaited<ReturnType<typeof gateSide>>;

async function measure(side: GateSide, print: (line: string) => void): Promise<object> {
  const outcomes: Record<string, number> = {};
  const decisionsOf = async (count: number, together: number, act: Effect): Promise<readonly number[]> => {
    const times: number[] = [];
    const prepared: RunId[] = [];
    await inParallel(count, atOnce, async () => void prepared.push(await side.prepareRun()));
    // What the ledger still has to take in of one phase is not the next one's to pay for.
    await side.sequenced();
    const start = performance.now();
    await inParallel(count, together, async (index) => {
      const run = prepared[index];
      if (run === undefined) throw new Error("a run was not prepared");
      for (let call = 0; call < callsPerRun; call += 1) {
        const begun = performance.now();
        const outcome = await side.decideCall(run, call, act);
        times.push(performance.now() - begun);
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      }
    });
    elapsed = performance.now() - start;
    return times;
  };
  let elapsed = 0;
  const rate = (times: readonly number[]): number => times.length / (elapsed / 1_000);

  await decisionsOf(atOnce, atOnce, "returns");
  const p50s: number[] = [];
  const p99s: number[] = [];
  const decisions: number[] = [];
  const steps: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const alone = (await decisionsOf(runsAlone, 1, "never ends")).toSorted((a, b) => a - b);
    p50s.push(median(alone));
    p99s.push(alone[Math.floor(alone.length * 0.99)] ?? Number.NaN);
    decisions.push(rate(await decisionsOf(runsPerRound, atOnce, "never ends")));
    steps.push(rate(await decisionsOf(runsPerRound, atOnce, "returns")));
    const [p50, perSecond, stepsPerSecond] = [p50s, decisions, steps].map((all) => all.at(-1) ?? Number.NaN);
    print(
      `round ${round} of ${rounds}: alone ${p50?.toFixed(2)} ms, ${perSecond?.toFixed(0)} decisions/s, ${stepsPerSecond?.toFixed(0)} steps/s`,
    );
  }
  const figures = {
    p50ms: Math.round(median(p50s) * 1_000) / 1_000,
    p99ms: Math.round(median(p99s) * 1_000) / 1_000,
    decisionsPerSecond: Math.round(median(decisions)),
    stepsPerSecond: Math.round(median(steps)),
  };
  report(figures, outcomes, print);
  return figures;
}

function report(
  figures: Readonly<Record<"p50ms" | "p99ms" | "decisionsPerSecond" | "stepsPerSecond", number>>,
  outcomes: Readonly<Record<string, number>>,
  print: (line: string) => void,
): void {
  const table = new Table({
    head: [`at ${policyCount} policies`, "median of the rounds", "goal", "result"],
    style: { head: [], border: [] },
  });
  table.push(
    ["one decision alone, p50", `${figures.p50ms.toFixed(2)} ms`, "below 2 ms", met(figures.p50ms < 2)],
    ["one decision alone, p99", `${figures.p99ms.toFixed(2)} ms`, "", ""],
    [
      `decisions a second, ${atOnce} runs at once`,
      figures.decisionsPerSecond,
      "1,000 on two cores",
      met(figures.decisionsPerSecond >= 1_000),
    ],
    [`whole steps a second, ${atOnce} runs at once`, figures.stepsPerSecond, "", ""],
  );
  print(table.toString());
  const shares = Object.entries(outcomes).map(([outcome, count]) => `${count} ${outcome}`);
  print(
    "A decision is a tool step through the worker's gate, from the reference in the activity's input until its decision, intent and ledger\n" +
      "rows are committed, and the tool may begin (or the denial or the request for approval is what was committed). A whole step also records\n" +
      `the tool's result. Postgres, the gate and the ledger's sequencer share this machine; each part begins with nothing left to sequence; no Temporal. ${rounds} rounds in turns after one for warming up,\n` +
      `${runsPerRound} runs of ${callsPerRun} calls at once, ${runsAlone} runs alone; preparing the runs is left out. Outcomes: ${shares.join(", ")}.`,
  );
}

/** Whether the tool of an allowed call returns at once, or is left to itself as soon as it may begin. */
type Effect = "returns" | "never ends";

/** The gate of a worker, with its Postgres and its sequencer, and no Temporal. */
export async function gateSide(url: string) {
  const pool = createPool({ url, max: 20 });
  await migrate(pool);
  const keys = payloadKeysOf(Buffer.alloc(32, 1));
  const cache = createRunCache(pool, keys);
  const now = () => new Date();
  const logger = pino({ level: "warn" });
  const gate = createGate({
    pool,
    keys,
    cache,
    priceOf: () => ({ inputPerMillion: 1, cachedInputPerMillion: 1, outputPerMillion: 1 }),
    environment: { name: "bench", region: "local" },
    fastLane: true,
    now,
    logger,
  });
  const release = await register(pool);
  const sequencer = createSequencer({
    pool,
    originOf: (log) => `bench/${log}`,
    signers: (log) => [createSigner(`bench/${log}`, Buffer.alloc(32, 2))],
    onError: (error) => void process.stderr.write(`ledger: ${String(error)}\n`),
  });
  sequencer.start();

  const execute = (run: RunId, kind: "model" | "tool", input: object, next: () => Promise<EffectOutcome>) => {
    const info = {
      activityType: kind,
      activityId: randomUUID(),
      attempt: 1,
      isLocal: true,
      workflowExecution: { workflowId: run, runId: run },
    };
    const context = { info, cancellationSignal: new AbortController().signal, heartbeat: () => undefined };
    const { inbound } = gate(context as unknown as Context);
    if (inbound?.execute === undefined) throw new Error("the gate intercepts nothing");
    return inbound.execute({ args: [input], headers: {} }, next as never) as Promise<{ readonly status: string }>;
  };

  return {
    pool,
    keys,
    /** A run whose model has asked for all its calls. */
    async prepareRun(): Promise<RunId> {
      const run = await startRun(pool, keys, release);
      await openRun({ pool, cache, bundle: "0".repeat(64) as Digest, now }, run, run);
      const usage = { input: 100, cachedInput: 0, output: 20, reasoning: 0 };
      const result = { content: "", toolCalls: callsOfModel(), finishReason: "tool_calls" } as const;
      const asked = await execute(run, "model", { run, seq: 0 }, async () => {
        return { status: "result", kind: "model", result, usage };
      });
      if (asked.status !== "calls") throw new Error(`the model step ended as ${asked.status}`);
      return run;
    },
    /** Ends when the decision is durable, and for an effect that returns when its result is. */
    decideCall(run: RunId, call: number, effect: Effect): Promise<string> {
      return new Promise((resolve, reject) => {
        let allowed = false;
        const act = async (): Promise<EffectOutcome> => {
          allowed = true;
          if (effect === "returns") return { status: "result", kind: "tool", result: { status: "ok", value: "done" } };
          resolve("allowed");
          return new Promise<never>(() => undefined);
        };
        execute(run, "tool", { run, seq: call + 1, model: 0, call }, act).then(
          ({ status }) => resolve(allowed ? "allowed" : status === "waiting" ? "asked for approval" : "denied"),
          reject,
        );
      });
    },
    async sequenced(): Promise<void> {
      await sequencer.flush();
    },
    stop: async () => {
      // Lets commits that are under way end before their connections go.
      await wait(200);
      await sequencer.stop();
      await pool.end();
    },
  };
}

async function register(pool: Pool): Promise<Release> {
  const release = releaseOfDocument({
    v: 1,
    team,
    agent: "agent_0",
    useCase: "bench",
    riskTier: "limited",
    model: { name: "bench", maxOutputTokens: 100 },
    prompt: "You measure.",
    tools: tools.map((tool) => ({
      ...tool,
      description: "A tool that is not called.",
      idempotency: "key",
      short: true,
      timeoutMs: 5_000,
      implementation: { kind: "http", method: "POST", url: "http://localhost:9/" },
    })) as unknown as Release["document"]["tools"],
    limits: { maxSteps: 10_000, maxCostMicroUsd: 1_000_000_000, maxWallClockMs: 3_600_000 },
  });
  await registerRelease(pool, release, "bench", new Date());
  const document = { v: 1, policies: rulesOf(policyCount).map(cedarOf) };
  await activatePolicySet(pool, team, document as unknown as Json, "bench", new Date());
  return release;
}

async function startRun(pool: Pool, keys: PayloadKeys, { digest, document }: Release): Promise<RunId> {
  const id = `run_${ulid()}` as RunId;
  const now = new Date();
  const dataKey = await dataKeyOf(pool, keys, "", now);
  const { sealing, sealedKey } = newRunKey(dataKey, id);
  const [input] = await putPayloads(pool, sealing, [
    { prompt: "Send it to alice@example.com, please.", tags: { nonce: id } },
  ]);
  if (input === undefined) throw new Error("no input");
  const { agent, limits } = document;
  await createRun(pool, {
    id,
    team,
    agent,
    release: digest,
    input,
    requestedBy: "bench",
    limits,
    contents: { dataKey: dataKey.id, sealedKey },
    now,
  });
  return id;
}

/** Calls of other tools each, with what the user gave or the model made up. */
function callsOfModel() {
  return Array.from({ length: callsPerRun }, (_, index) => {
    const recipient = index % 3 === 0 ? "bob@rival.example" : "alice@example.com";
    const args = {
      amount_cents: Math.floor((((index * 7_919) % 1_000) / 1_000) ** 3 * 100_000),
      recipient,
      note: "The parcel left the warehouse on Monday.",
      tags: ["priority", `project-${index}`],
    };
    return {
      id: `call_${index}`,
      name: tools[(index * 11) % tools.length]?.name ?? "",
      arguments: JSON.stringify(args),
    };
  });
}
